// Brings answers to the server one after another, and keeps each until the server has said that it is on the disk.

const RETRY_MS = 1500;
const PATIENCE_MS = 15000;

export class Saver {
  // send(key, body) -> Response; show(state, text) with a state of "saving", "saved", "lost" or "refused"
  constructor(send, show) {
    this.send = send;
    this.show = show;
    this.waiting = new Map(); // key -> body; a newer state of a case takes the place of one that still waits
    this.running = null;
  }

  get pending() {
    return this.waiting.size > 0;
  }

  put(key, body) {
    this.waiting.delete(key); // so that the newest is also the last to go
    this.waiting.set(key, body);
    this.running ??= this.run().finally(() => { this.running = null; });
  }

  // Resolves when nothing is being saved any more: true, or false where the server refused something.
  async flush() {
    while (this.running) {
      if (!await this.running) return false;
    }
    return true;
  }

  async run() {
    while (this.pending) {
      const [key, body] = this.waiting.entries().next().value;
      this.show("saving", "Saving…");
      const outcome = await this.attempt(key, body);
      if (outcome.retry) {
        this.show("lost", outcome.text);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      } else if (outcome.text) {
        this.waiting.delete(key);
        this.show("refused", outcome.text);
        return false;
      } else {
        if (this.waiting.get(key) === body) this.waiting.delete(key);
        if (!this.pending) this.show("saved", outcome.at);
      }
    }
    return true;
  }

  async attempt(key, body) {
    try {
      const response = await this.send(key, body, AbortSignal.timeout(PATIENCE_MS));
      if (response.ok) return { at: (await response.json()).saved };
      const text = await response.text();
      if (response.status >= 500) return { retry: true, text: `Not saved: ${text}. Kept in this page; trying again.` };
      return { text: `Not saved: ${text}. Reload this page.` };
    } catch {
      return { retry: true, text: "Not saved: the server does not answer. Your answers are kept in this page, which keeps trying: leave it open." };
    }
  }
}
