// The answers to one case, beside the image: marks with confidence, the whole image, the companion.

const DEFAULT_CONFIDENCE = 50;

// Table 3 of BS-LDM (arXiv 2412.15670), in plain words; 3 is best.
const SCALES = {
  vessels: ["Lung vessels", { 3: "Clearly displayed", 2: "Displayed", 1: "Not displayed" }],
  airways: ["Airways, seen down to", { 3: "Lobar and intermediate bronchi", 2: "Main bronchi", 1: "Trachea" }],
  suppression: ["Bone suppression", { 3: "Nearly perfect", 2: "Fewer than 5 bones left", 1: "5 or more bones left" }],
};

const element = (id) => document.getElementById(id);

function made(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export class Form {
  // on: { edited(kind), drawn(), emptied() }: something was answered; marks look different; the last mark went
  constructor(on) {
    this.on = on;
    this.marks = [];
    this.chosen = -1;
    this.buildScores();
    const [range, number] = [element("case-range"), element("case-number")];
    range.addEventListener("input", () => this.setOverall(range.valueAsNumber));
    range.addEventListener("change", () => this.on.edited("marks"));
    // A click on the middle of an untouched slider is an answer, too, and changes no value.
    range.addEventListener("click", () => this.touchOverall(range));
    range.addEventListener("keydown", (event) => event.key === "Enter" && this.touchOverall(range));
    number.addEventListener("input", () => this.typedOverall(number));
  }

  show(answer, finding, hasCompanion) {
    this.finding = finding;
    this.marks = (answer?.marks ?? []).map((mark) => ({ ...mark }));
    this.chosen = -1;
    this.hasCompanion = hasCompanion;
    this.scores = hasCompanion ? { vessels: null, airways: null, suppression: null, ...answer?.scores } : null;
    element("question").textContent = `How sure are you that there is a ${finding}?`;
    element("no-marks").textContent = `Click where you see a ${finding}. None seen: go on.`;
    element("scores").hidden = !hasCompanion;
    for (const input of element("scores").querySelectorAll("input")) {
      input.checked = this.scores?.[input.name] === Number(input.value);
    }
    this.setOverall(answer?.case_confidence ?? null);
    this.tell("");
    this.draw();
  }

  get answer() {
    return { marks: this.marks, case_confidence: this.overall, scores: this.scores };
  }

  // Control that still lacks an answer, and what is to be said about it; null when everything is answered.
  get missing() {
    if (this.overall === null) return [element("case-number"), "The question about the whole image is not answered."];
    for (const [name, [title]] of Object.entries(SCALES)) {
      if (this.scores && this.scores[name] === null) {
        return [document.querySelector(`input[name="${name}"]`), `${title}: not answered.`];
      }
    }
    return null;
  }

  tell(text) {
    element("missing").textContent = text;
  }

  // The whole image

  setOverall(value) {
    const range = element("case-range");
    this.overall = value;
    range.classList.toggle("unset", value === null);
    range.valueAsNumber = value ?? 50;
    range.setAttribute("aria-valuetext", value === null ? "not answered" : `${value} percent`);
    element("case-number").value = value ?? "";
  }

  touchOverall(range) {
    if (this.overall !== null) return;
    this.setOverall(range.valueAsNumber);
    this.on.edited("marks");
  }

  typedOverall(number) {
    const typed = number.valueAsNumber;
    this.setOverall(Number.isNaN(typed) ? null : Math.round(Math.min(100, Math.max(0, typed))));
    this.on.edited("marks");
  }

  // Marks

  place(x, y) {
    this.marks.push({ x, y, confidence: DEFAULT_CONFIDENCE });
    this.choose(this.marks.length - 1);
    this.on.edited("marks");
  }

  move(index, x, y, isOver) {
    Object.assign(this.marks[index], { x, y });
    this.draw();
    if (isOver) this.on.edited("marks");
  }

  choose(index) {
    this.chosen = index;
    this.draw();
    element("marks").children[index]?.scrollIntoView({ block: "nearest" });
  }

  chooseNext() {
    if (this.marks.length) this.choose((this.chosen + 1) % this.marks.length);
  }

  remove(index) {
    if (!this.marks[index]) return;
    const hadFocus = element("marks").contains(document.activeElement);
    this.marks.splice(index, 1);
    this.chosen = -1;
    this.draw();
    const next = element("marks").children[Math.min(index, this.marks.length - 1)];
    if (hadFocus && next) next.querySelector(".delete").focus();
    else if (hadFocus) this.on.emptied();
    this.on.edited("marks");
  }

  rate(confidence) {
    const mark = this.marks[this.chosen];
    if (!mark) return;
    mark.confidence = Math.min(100, Math.max(0, confidence(mark.confidence)));
    this.draw();
    this.on.edited("marks");
  }

  draw() {
    const list = element("marks");
    while (list.children.length > this.marks.length) list.lastChild.remove();
    while (list.children.length < this.marks.length) list.append(this.row(list.children.length));
    this.marks.forEach((mark, index) => this.drawRow(list.children[index], mark, index));
    element("no-marks").hidden = this.marks.length > 0;
    this.on.drawn();
  }

  row(index) {
    const number = index + 1;
    const pick = made("button", { type: "button", className: "pick", textContent: String(number) });
    const range = made("input", { type: "range", min: 0, max: 100, step: 1 });
    const remove = made("button", { type: "button", className: "delete", textContent: "Delete" });
    range.setAttribute("aria-label", `Confidence of mark ${number}`);
    remove.setAttribute("aria-label", `Delete mark ${number}`);
    pick.addEventListener("click", () => this.choose(index));
    range.addEventListener("focus", () => this.chosen !== index && this.choose(index));
    range.addEventListener("input", () => {
      this.marks[index].confidence = range.valueAsNumber;
      this.draw();
    });
    range.addEventListener("change", () => this.on.edited("marks"));
    remove.addEventListener("click", () => this.remove(index));
    return made("li", {}, [pick, range, made("output"), remove]);
  }

  drawRow(row, mark, index) {
    const [pick, range, output] = row.children;
    row.classList.toggle("chosen", index === this.chosen);
    pick.setAttribute("aria-pressed", String(index === this.chosen));
    pick.setAttribute("aria-label", `Mark ${index + 1}, column ${Math.round(mark.x)}, row ${Math.round(mark.y)}`);
    range.valueAsNumber = mark.confidence;
    range.setAttribute("aria-valuetext", `${mark.confidence} percent`);
    output.value = `${mark.confidence} %`;
  }

  // The companion

  buildScores() {
    for (const [name, [title, words]] of Object.entries(SCALES)) {
      const choices = [3, 2, 1].map((score) => {
        const input = made("input", { type: "radio", name, value: String(score) });
        input.addEventListener("change", () => {
          this.scores[name] = score;
          this.on.edited("scores");
        });
        return made("label", {}, [input, made("span", { textContent: words[score] })]);
      });
      element("scores").append(made("fieldset", {}, [made("legend", { textContent: title }), ...choices]));
    }
  }
}
