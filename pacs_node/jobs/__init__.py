"""The durable queue: tasks that survive a crash, are tried again later, and never block one another.

`open_jobs` runs them in this process, `count_jobs` looks at the queue of any process. Only `pacs_node.jobs.durable`
knows the engine (DBOS on SQLite); nothing else imports it.
"""

from pacs_node.jobs.durable import QUEUE_FILE, Jobs, count_jobs, open_jobs
from pacs_node.jobs.tasks import Again, Done, Handler, Task, Verdict

__all__ = ["QUEUE_FILE", "Again", "Done", "Handler", "Jobs", "Task", "Verdict", "count_jobs", "open_jobs"]
