// One reader's way through a study: which case is shown, what is sent, what is said.

import { Form } from "./form.js";
import { Saver } from "./saver.js";
import { Viewer } from "./viewer.js";

const RETRY_MS = 1500;
const element = (id) => document.getElementById(id);

const state = { overview: null, current: null, seconds: 0, since: null, isLeaving: false };

const viewer = new Viewer(element("canvas"), {
  place: (x, y) => form.place(rounded(x), rounded(y)),
  choose: (index) => form.choose(index),
  move: (index, x, y, isOver) => form.move(index, rounded(x), rounded(y), isOver),
  change: showView,
});
const form = new Form({
  edited: (kind) => save(kind),
  drawn: () => viewer.setMarks(form.marks, form.chosen),
  emptied: () => element("canvas").focus(),
});
const saver = new Saver(
  (key, body, signal) => fetch(`answer/${key}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body, signal,
  }),
  showSaving,
);

function rounded(value) {
  return Math.round(value * 100) / 100;
}

// Server

// JSON or bytes of a path of this reader; asks again for as long as the server is gone.
async function ask(path, read) {
  for (;;) {
    try {
      const response = await fetch(path);
      if (!response.ok) throw new Refusal(await response.text());
      const answer = await read(response);
      trouble("");
      return answer;
    } catch (error) {
      if (error instanceof Refusal) throw error;
      trouble("The server does not answer. Trying again; nothing that was saved is lost.");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

class Refusal extends Error {}

const json = (response) => response.json();
const levels = async (response) => new Uint16Array(await response.arrayBuffer());

function trouble(text) {
  element("trouble").textContent = text;
  element("trouble").hidden = !text;
}

function showSaving(kind, text) {
  const saved = element("saved");
  saved.classList.toggle("done", kind === "saved");
  saved.textContent = kind === "saved" ? `Saved ${new Date(text).toLocaleTimeString()}` : kind === "saving" ? text : "Not saved";
  if (kind !== "saving") trouble(kind === "saved" ? "" : text);
}

// Time in view

function readClock() {
  const running = state.since === null ? 0 : (performance.now() - state.since) / 1000;
  return state.seconds + running;
}

function runClock() {
  state.seconds = readClock();
  const isRunning = state.current && document.visibilityState === "visible";
  state.since = isRunning ? performance.now() : null;
}

document.addEventListener("visibilitychange", runClock);

// Cases

async function start() {
  const overview = await ask("overview", json);
  state.overview = overview;
  document.title = element("title").textContent = overview.title;
  const session = overview.sessions.find((each) => each.session === overview.session);
  if (!session) showEnd();
  else if (session.begun) await open(session.session, overview.order);
  else showSession(session);
}

async function open(session, order) {
  const next = await ask(`case/${session}/${order}`, json);
  const images = await Promise.all(
    Array.from({ length: next.images }, (_, number) => ask(`pixels/${session}/${order}/${number}`, levels)),
  );
  element("notice").hidden = true;
  element("reading").hidden = false;
  state.current = next;
  state.seconds = next.answer?.seconds ?? 0;
  state.since = performance.now();
  runClock();
  showPlace(next);
  form.show(next.answer, state.overview.finding, next.images > 1);
  viewer.show(images, next.rows, next.columns);
  element("views").hidden = next.images < 2;
  element("panel").scrollTop = 0;
  element("canvas").dataset.case = `${session}/${order}`;
  element("canvas").focus({ preventScroll: true });
}

function showPlace({ session, order, of }) {
  element("place").textContent = `${nameOf(session)}: case ${order} of ${of}`;
  Object.assign(element("bar"), { max: of, value: order - 1 });
  element("progress").hidden = false;
  element("back").disabled = order === 1;
  element("next-word").textContent = order === of ? "Finish" : "Next";
}

function nameOf(session) {
  return session === 0 ? "Practice" : `Session ${session}`;
}

function save(kind) {
  const { session, order } = state.current;
  form.tell("");
  saver.put(`${session}/${order}`, JSON.stringify({ kind, ...form.answer, seconds: rounded(readClock()) }));
}

// Waits until everything is on the disk, and holds the page still until then.
async function leave(act) {
  if (state.isLeaving || !state.current) return;
  state.isLeaving = element("reading").inert = true;
  try {
    if (await saver.flush()) await act();
  } catch (error) {
    trouble(error instanceof Refusal ? `${error.message}. Reload this page.` : "This page has failed. Reload it.");
  } finally {
    state.isLeaving = element("reading").inert = false;
    element("canvas").focus({ preventScroll: true });
  }
}

function goOn() {
  if (state.isLeaving || !state.current) return;
  const { session, order, of } = state.current;
  if (form.missing) {
    const [control, text] = form.missing;
    form.tell(text);
    control.focus();
    return;
  }
  save("done");
  leave(() => (order < of ? open(session, order + 1) : start()));
}

function goBack() {
  if (state.current?.order > 1) leave(() => open(state.current.session, state.current.order - 1));
}

// What stands between sessions

function notice(title, paragraphs, button, act) {
  state.current = null;
  runClock();
  element("reading").hidden = true;
  element("progress").hidden = true;
  element("notice").hidden = false;
  element("notice-title").textContent = title;
  element("notice-text").replaceChildren(...paragraphs.map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }));
  const go = element("notice-go");
  go.hidden = !button;
  go.textContent = button ?? "";
  go.onclick = act;
  element("notice-title").focus();
}

function showSession({ session, cases, opens }) {
  const { finding, washout_days: washout, sessions } = state.overview;
  const scored = sessions.filter((each) => !each.practice).length;
  const begin = () => open(session, 1);
  if (session === 0) {
    notice("Practice", [`${cases} cases to learn the page with. They are not scored.`, ...rules(finding)], "Begin", begin);
  } else if (opens) {
    const day = new Date(opens).toLocaleDateString(undefined, { dateStyle: "long" });
    notice(`Session ${session - 1} is finished. Thank you.`, [
      "All answers are saved; you may close this page.",
      `Session ${session} shows the same cases in another order, with companions where there were none before and without ` +
      `where there were. Please let ${washout} days pass, so that no case is remembered: come back on ${day} or later.`,
    ], `Begin session ${session} before that day`, begin);
  } else {
    notice(`Session ${session} of ${scored}`, [`${cases} cases. ` + (session > 1
      ? "The same ones as before in another order."
      : `You will see each case a second time in the next session, after ${washout} days.`), ...rules(finding)], "Begin", begin);
  }
}

function rules(finding) {
  return [
    `Mark every ${finding} by a click and say how sure you are of it. Then say how sure you are that there is a ${finding} ` +
    "at all. Some cases have a companion, an image of the same radiograph with less bone; then score the companion, too.",
    "Each answer is saved at once. You can stop at any time and go on here later with the same link.",
    "Press ? for the mouse and the keys.",
  ];
}

function showEnd() {
  notice("Everything is read. Thank you.", ["All answers are saved; you may close this page."]);
}

// Controls

function showView() {
  const { view, window: levelsOf, inverted } = viewer;
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
  }
  if (!viewer.images.length || !levelsOf) return;
  element("invert").setAttribute("aria-pressed", String(inverted));
  element("width").value = Math.round(100 * levelsOf.width);
  element("center").value = Math.round(100 * levelsOf.center);
  const at = viewer.pointer ? `   column ${Math.round(viewer.pointer.x)}, row ${Math.round(viewer.pointer.y)}` : "";
  element("readout").textContent =
    `Zoom ${Math.round(100 * viewer.scale * devicePixelRatio)} %   window ${Math.round(100 * levelsOf.width)} %, ` +
    `level ${Math.round(100 * levelsOf.center)} %   ${viewer.columns} × ${viewer.rows} px${at}`;
}

const actions = {
  flicker: () => viewer.images.length > 1 && viewer.flicker(),
  invert: () => viewer.invert(),
  fit: () => viewer.fit(),
  native: () => viewer.native(),
  closer: () => viewer.zoom(1.25),
  farther: () => viewer.zoom(0.8),
  reset: () => viewer.resetWindow(),
  next: goOn,
  back: goBack,
};
for (const [id, act] of Object.entries(actions)) element(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => viewer.setView(button.dataset.view));
}
for (const id of ["width", "center"]) {
  element(id).addEventListener("input", () =>
    viewer.setWindow(element("center").valueAsNumber / 100, element("width").valueAsNumber / 100));
}
element("open-help").addEventListener("click", () => element("help").showModal());

const keys = {
  f: actions.flicker,
  s: () => viewer.setView(viewer.view === "both" ? "original" : "both"),
  i: actions.invert,
  z: actions.fit,
  x: actions.native,
  "+": actions.closer,
  "=": actions.closer,
  "-": actions.farther,
  r: actions.reset,
  n: goOn,
  b: goBack,
  m: () => form.chooseNext(),
  Delete: () => form.remove(form.chosen),
  Backspace: () => form.remove(form.chosen),
  "[": () => form.rate((confidence) => confidence - 5),
  "]": () => form.rate((confidence) => confidence + 5),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat && event.key.length === 1 && !"+-=[]".includes(event.key)) return;
  if (element("help").open || event.target.matches("input[type=number]")) return;
  if (event.key === "?") {
    element("help").showModal();
  } else if (state.current && !state.isLeaving && /^\d$/.test(event.key)) {
    form.rate(() => (Number(event.key) || 10) * 10);
  } else if (state.current && !state.isLeaving) {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    act();
  } else {
    return;
  }
  event.preventDefault();
});

window.addEventListener("beforeunload", (event) => {
  if (saver.pending) event.preventDefault();
});

start().catch((error) => trouble(error instanceof Refusal ? error.message : "This page has failed. Reload it."));
