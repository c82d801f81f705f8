// Grey levels on a canvas: zoom, pan, window, inversion, two images in one view, marks.
//
// A place is (x, y) in px of the native image, 0 at the centre of the top left pixel; pixel x covers x - .5 to x + .5.

const WHITE = 65535;
const HIT_PX = 16; // on the screen: nearer to a mark than this means the mark
const CLICK_PX = 4; // what moves less is a click
const FINEST = 32; // screen px of one image px
const NAMES = ["Radiograph", "Companion"];

const bounded = (value, low, high) => Math.min(high, Math.max(low, value));

export class Viewer {
  // on: { place(x, y), choose(index), move(index, x, y, isOver), change() }
  constructor(canvas, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.on = on;
    this.images = [];
    this.marks = [];
    this.chosen = -1;
    this.view = "original";
    this.drag = null;
    this.crosshair = null;
    this.lut = new Uint32Array(WHITE + 1);
    this.listen();
    new ResizeObserver(() => this.resized()).observe(canvas);
  }

  // images: Uint16Array each, rows * columns
  show(images, rows, columns) {
    this.images = images.map((levels) => ({ levels, picture: null }));
    this.rows = rows;
    this.columns = columns;
    this.crosshair = null;
    this.inverted = false;
    this.view = "original";
    this.resetWindow();
    this.fit();
  }

  get panes() {
    const width = this.canvas.clientWidth;
    if (this.view !== "both") return [{ image: this.view === "companion" ? 1 : 0, left: 0, width }];
    return [0, 1].map((image) => ({ image, left: image * width / 2, width: width / 2 }));
  }

  get fittingScale() {
    const { width } = this.panes[0];
    return Math.min(width / this.columns, this.canvas.clientHeight / this.rows);
  }

  setView(view) {
    const wasFitted = this.isFitted;
    this.view = this.images.length > 1 ? view : "original";
    if (wasFitted) this.fit();
    this.redraw();
  }

  flicker() {
    this.setView(this.view === "original" ? "companion" : "original");
  }

  get isFitted() {
    return this.images.length > 0 && Math.abs(this.scale / this.fittingScale - 1) < 1e-3;
  }

  fit() {
    this.scale = this.fittingScale;
    this.middle = { x: (this.columns - 1) / 2, y: (this.rows - 1) / 2 };
    this.redraw();
  }

  native() {
    this.zoomTo(1 / devicePixelRatio);
  }

  zoom(factor, at) {
    this.zoomTo(this.scale * factor, at);
  }

  // Keeps the place at `at` (canvas px) where it is; without it the crosshair, or the middle.
  zoomTo(scale, at) {
    const pane = this.panes[0];
    const fixed = at ?? (this.crosshair ? this.toScreen(this.crosshair, pane) : this.centreOf(pane));
    const before = this.toImage(fixed);
    this.scale = bounded(scale, Math.min(this.fittingScale, 1) / 4, FINEST);
    const after = this.toImage(fixed);
    this.pan(before.x - after.x, before.y - after.y);
  }

  pan(dx, dy) {
    this.middle.x = bounded(this.middle.x + dx, -0.5, this.columns - 0.5);
    this.middle.y = bounded(this.middle.y + dy, -0.5, this.rows - 0.5);
    this.redraw();
  }

  resetWindow() {
    this.setWindow(0.5, 1);
  }

  // Centre and width as shares of the grey scale.
  setWindow(center, width) {
    this.window = { center: bounded(center, -0.5, 1.5), width: bounded(width, 0.01, 2) };
    this.stale();
  }

  invert() {
    this.inverted = !this.inverted;
    this.stale();
  }

  stale() {
    for (const image of this.images) image.isCurrent = false;
    this.redraw();
  }

  setMarks(marks, chosen) {
    this.marks = marks;
    this.chosen = chosen;
    this.redraw();
  }

  centreOf(pane) {
    return { x: pane.left + pane.width / 2, y: this.canvas.clientHeight / 2 };
  }

  paneAt(point) {
    const panes = this.panes;
    return point.x >= panes.at(-1).left ? panes.at(-1) : panes[0];
  }

  toScreen(place, pane) {
    const centre = this.centreOf(pane);
    return {
      x: centre.x + (place.x - this.middle.x) * this.scale,
      y: centre.y + (place.y - this.middle.y) * this.scale,
    };
  }

  toImage(point) {
    const centre = this.centreOf(this.paneAt(point));
    return {
      x: this.middle.x + (point.x - centre.x) / this.scale,
      y: this.middle.y + (point.y - centre.y) / this.scale,
    };
  }

  inside(place) {
    return place.x >= -0.5 && place.y >= -0.5 && place.x <= this.columns - 0.5 && place.y <= this.rows - 0.5;
  }

  markAt(point) {
    const pane = this.paneAt(point);
    const distances = this.marks.map((mark) => {
      const at = this.toScreen(mark, pane);
      return Math.hypot(at.x - point.x, at.y - point.y);
    });
    const nearest = Math.min(...distances, Infinity);
    return nearest <= HIT_PX ? distances.indexOf(nearest) : -1;
  }

  // Drawing

  resized() {
    const { clientWidth, clientHeight } = this.canvas;
    const wasFitted = this.wasFitted ?? true;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    if (this.images.length && wasFitted) this.fit();
    this.redraw();
  }

  redraw() {
    if (!this.images.length || this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.draw();
    });
  }

  draw() {
    this.wasFitted = this.isFitted; // asked before a change of size, which would deny it
    const { context } = this;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    for (const pane of this.panes) this.drawPane(pane);
    this.canvas.dataset.view = this.view;
    this.on.change();
  }

  drawPane(pane) {
    const { context, scale } = this;
    const corner = this.toScreen({ x: -0.5, y: -0.5 }, pane);
    context.save();
    context.beginPath();
    context.rect(pane.left, 0, pane.width, this.canvas.clientHeight);
    context.clip();
    context.imageSmoothingEnabled = scale * devicePixelRatio < 3; // closer, pixels are shown as what they are
    context.imageSmoothingQuality = "high";
    context.drawImage(this.rendered(this.images[pane.image]), corner.x, corner.y, this.columns * scale, this.rows * scale);
    this.marks.forEach((mark, index) => this.drawMark(this.toScreen(mark, pane), index));
    if (this.crosshair && document.activeElement === this.canvas) this.drawCrosshair(this.toScreen(this.crosshair, pane));
    if (this.images.length > 1) this.drawName(pane);
    if (pane.left > 0) {
      context.fillStyle = "#39424d";
      context.fillRect(pane.left, 0, 1, this.canvas.clientHeight);
    }
    context.restore();
  }

  // 16-bit levels through the window into an 8-bit picture of native size.
  rendered(image) {
    if (image.isCurrent) return image.picture;
    this.fillTable();
    if (!image.picture) {
      image.picture = document.createElement("canvas");
      [image.picture.width, image.picture.height] = [this.columns, this.rows];
    }
    const context = image.picture.getContext("2d", { alpha: false });
    const data = context.createImageData(this.columns, this.rows);
    const out = new Uint32Array(data.data.buffer);
    const { lut } = this;
    const { levels } = image;
    for (let index = 0; index < levels.length; index += 1) out[index] = lut[levels[index]];
    context.putImageData(data, 0, 0);
    image.isCurrent = true;
    return image.picture;
  }

  fillTable() {
    const { center, width } = this.window;
    const low = (center - width / 2) * WHITE;
    const step = 255 / (width * WHITE);
    for (let level = 0; level <= WHITE; level += 1) {
      let grey = bounded(Math.round((level - low) * step), 0, 255);
      if (this.inverted) grey = 255 - grey;
      this.lut[level] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }

  // Light on a dark rim, to be seen on any grey; open, to hide nothing.
  drawMark(at, index) {
    const { context } = this;
    const isChosen = index === this.chosen;
    for (const [width, colour] of [[isChosen ? 6 : 5, "rgb(0 0 0 / .75)"], [isChosen ? 3 : 1.75, "#ffd166"]]) {
      context.beginPath();
      context.arc(at.x, at.y, 14, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
    this.text(String(index + 1), at.x + 17, at.y - 11, "#ffd166");
  }

  drawCrosshair(at) {
    const { context } = this;
    for (const [width, colour] of [[4, "rgb(0 0 0 / .75)"], [1.5, "#7cc4ff"]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(at.x + 4 * dx, at.y + 4 * dy);
        context.lineTo(at.x + 18 * dx, at.y + 18 * dy);
      }
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  drawName(pane) {
    this.text(NAMES[pane.image], pane.left + 12, 22, "#d9dfe6");
  }

  text(words, x, y, colour) {
    const { context } = this;
    context.font = "600 14px system-ui, 'DejaVu Sans', sans-serif";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = "rgb(0 0 0 / .75)";
    context.strokeText(words, x, y);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }

  // Mouse, pen, keys

  listen() {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.dragged(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", () => this.dropped());
    canvas.addEventListener("pointerleave", () => this.pointAt(null));
    canvas.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.keyed(event));
    for (const type of ["focus", "blur"]) canvas.addEventListener(type, () => this.redraw());
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  pressed(event) {
    if (!this.images.length || this.drag) return;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.crosshair = null;
    const at = this.point(event);
    const mark = event.button === 0 && !event.shiftKey ? this.markAt(at) : -1;
    let kind = "pan";
    if (event.button === 2 || (event.button === 0 && event.shiftKey)) kind = "window";
    else if (mark >= 0) kind = "mark";
    this.drag = { kind, mark, button: event.button, start: at, last: at, moved: false, window: { ...this.window } };
    if (mark >= 0) this.on.choose(mark);
    event.preventDefault();
  }

  dragged(event) {
    const at = this.point(event);
    this.pointAt(this.toImage(at));
    const { drag } = this;
    if (!drag) return;
    drag.moved ||= Math.hypot(at.x - drag.start.x, at.y - drag.start.y) > CLICK_PX;
    if (!drag.moved) return;
    if (drag.kind === "window") {
      const width = drag.window.width * Math.exp((at.x - drag.start.x) / 250);
      this.setWindow(drag.window.center + drag.window.width * (at.y - drag.start.y) / 400, width);
    } else if (drag.kind === "mark") {
      this.moveMark(drag.mark, at, false);
    } else {
      this.canvas.classList.add("dragging");
      this.pan((drag.last.x - at.x) / this.scale, (drag.last.y - at.y) / this.scale);
    }
    drag.last = at;
  }

  released(event) {
    const { drag } = this;
    if (!drag || event.button !== drag.button) return;
    this.dropped();
    const at = this.point(event);
    if (drag.kind === "mark" && drag.moved) this.moveMark(drag.mark, at, true);
    if (drag.kind !== "pan" || drag.moved || drag.button !== 0) return;
    const place = this.toImage(drag.start);
    if (this.inside(place)) this.on.place(place.x, place.y);
  }

  dropped() {
    this.drag = null;
    this.canvas.classList.remove("dragging");
  }

  moveMark(index, at, isOver) {
    const place = this.toImage(at);
    this.on.move(index, bounded(place.x, 0, this.columns - 1), bounded(place.y, 0, this.rows - 1), isOver);
  }

  wheeled(event) {
    if (!this.images.length) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(-bounded(event.deltaY * lines, -240, 240) / 400), this.point(event));
  }

  pointAt(place) {
    this.pointer = place && this.images.length && this.inside(place) ? place : null;
    this.on.change();
  }

  keyed(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!this.images.length || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in steps) {
      const [dx, dy] = steps[event.key];
      const step = event.shiftKey ? 1 : Math.max(1, 10 / this.scale);
      const from = this.crosshair ?? { x: Math.round(this.middle.x), y: Math.round(this.middle.y) };
      this.moveCrosshair(from.x + dx * step, from.y + dy * step);
    } else if (event.key === "Enter" && this.crosshair) {
      const mark = this.markAt(this.toScreen(this.crosshair, this.panes[0]));
      if (mark >= 0) this.on.choose(mark);
      else this.on.place(this.crosshair.x, this.crosshair.y);
    } else if (event.key === "Enter") {
      this.moveCrosshair(Math.round(this.middle.x), Math.round(this.middle.y));
    } else {
      return;
    }
    event.preventDefault();
  }

  // The image follows where the crosshair would leave the view.
  moveCrosshair(x, y) {
    this.crosshair = { x: bounded(x, 0, this.columns - 1), y: bounded(y, 0, this.rows - 1) };
    this.pointAt(this.crosshair);
    const pane = this.panes[0];
    const at = this.toScreen(this.crosshair, pane);
    const beyond = (value, size) => Math.min(0, value - 24) + Math.max(0, value - size + 24);
    this.pan(beyond(at.x - pane.left, pane.width) / this.scale, beyond(at.y, this.canvas.clientHeight) / this.scale);
  }
}
