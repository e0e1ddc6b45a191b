/* SPDX-License-Identifier: Apache-2.0 */
/* The timeline of the report: what each worker of one run did when, drawn on a canvas that can be zoomed by
 * pointer, wheel and keyboard. Defines functions for report.js, which is loaded after it and lends it texts. */
'use strict';

const ACTIVITIES = ['pulling', 'computing', 'pushing', 'confirming', 'in transit', 'given up', 'queued at the server',
  'waiting for others'];
const RECORD = 3 + ACTIVITIES.length; /* numbers per record: begin, end, gradients, seconds of each activity */
const canvas = document.getElementById('timeline');
const AXIS = 30; /* pixels below the rows */
const view = {run: 0, from: 0, to: 1, drag: null, isWhole: true};

/* Pixels: where the rows begin, how high one is, and how wide the time is. */
function layout() {
  const rows = Math.max(1, runs[view.run].timeline.workers.length);
  const step = Math.max(1, Math.min(26, Math.floor(520 / rows)));
  const left = 42;
  return {rows, step, gap: step >= 8 ? 3 : step >= 4 ? 1 : 0, left,
    width: Math.max(50, canvas.clientWidth - left - 12), height: rows * step};
}

/* The first record that ends after `seconds`. */
function recordAfter(records, seconds) {
  let first = 0, end = records.length / RECORD;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (records[RECORD * middle + 1] <= seconds) first = middle + 1;
    else end = middle;
  }
  return first;
}

/* Adds a span of one activity (or a part of it, by weight) to the columns that it covers. */
function cover(columns, begin, end, activity, weight) {
  const last = columns.length / ACTIVITIES.length - 1;
  for (let c = Math.max(0, Math.floor(begin)); c <= Math.min(last, Math.floor(end)); c++)
    columns[ACTIVITIES.length * c + activity] += weight * Math.max(0, Math.min(end, c + 1) - Math.max(begin, c));
}

/* The share of each activity in each pixel column of a worker: [columns][activities]. */
function shares(records, columnCount) {
  const columns = new Float64Array(columnCount * ACTIVITIES.length);
  const scale = columnCount / (view.to - view.from);
  for (let i = RECORD * recordAfter(records, view.from); i < records.length && records[i] < view.to; i += RECORD) {
    const begin = (records[i] - view.from) * scale, end = (records[i + 1] - view.from) * scale;
    let at = begin;
    for (let a = 0; a < ACTIVITIES.length; a++) {
      const length = records[i + 3 + a] * scale;
      if (records[i + 2] === 1) cover(columns, at, Math.min(at + length, end), a, 1);
      else if (end > begin) cover(columns, begin, end, a, Math.min(1, length / (end - begin)));
      at += length;
    }
  }
  return columns;
}

const bytesOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const pixelOf = ([r, g, b]) => new Uint32Array(new Uint8Array([r, g, b, 255]).buffer)[0];

/* In rows too low for a stack, a column is the mixture of the activities' colours. */
function mixture(columns, c, colours, empty) {
  const mixed = [0, 0, 0];
  let left = 1;
  for (let a = 0; a <= ACTIVITIES.length; a++) {
    const share = a < ACTIVITIES.length ? Math.min(left, columns[ACTIVITIES.length * c + a]) : left;
    left -= share;
    for (let i = 0; i < 3; i++) mixed[i] += share * (a < ACTIVITIES.length ? colours[a] : empty)[i];
  }
  return pixelOf(mixed);
}

/* Each column of a row is a stack of the activities' shares from the bottom. */
function drawRow(pixels, width, top, height, columns) {
  const colours = palette.activities.map(bytesOf), empty = bytesOf(palette.empty);
  const solid = colours.concat([empty]).map(pixelOf);
  for (let c = 0; c < width; c++) {
    let y = top + height, sum = 0;
    const mixed = height < 5 ? mixture(columns, c, colours, empty) : null;
    for (let a = 0; a <= ACTIVITIES.length; a++) {
      sum += a < ACTIVITIES.length ? columns[ACTIVITIES.length * c + a] : 1;
      const until = top + height - Math.round(Math.min(1, sum) * height);
      while (y > until) pixels[--y * width + c] = mixed === null ? solid[a] : mixed;
    }
  }
}

function niceStep(span, most) {
  const raw = span / Math.max(1, most), power = Math.pow(10, Math.floor(Math.log10(raw)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
}

function drawAxes(context, {rows, step, left, width, height}) {
  const {stride} = runs[view.run].timeline;
  context.font = '12px system-ui, sans-serif';
  context.fillStyle = context.strokeStyle = palette.quiet;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  const every = Math.ceil(15 / step);
  for (let i = 0; i < rows; i += every) 
    context.fillText(String(i * stride), left - 6, Math.max(6, (i + 0.5) * step));
  context.textBaseline = 'top';
  const distance = niceStep(view.to - view.from, width / 90);
  for (let i = Math.ceil(view.from / distance); i * distance <= view.to; i++) {
    const x = left + ((i * distance - view.from) / (view.to - view.from)) * width;
    context.fillRect(Math.round(x), height + 2, 1, 5);
    const text = number(i * distance, 7);
    const half = context.measureText(text).width / 2;
    context.textAlign = x + half > left + width + 10 ? 'right' : x - half < 0 ? 'left' : 'center';
    context.fillText(text, context.textAlign === 'right' ? left + width + 10 : x, height + 9);
  }
}

function drawDrag(context, {left, width, height}) {
  if (!view.drag || view.drag.from === view.drag.to) return;
  context.fillStyle = palette.text;
  context.globalAlpha = 0.25;
  const x = (seconds) => left + ((seconds - view.from) / (view.to - view.from)) * width;
  context.fillRect(x(view.drag.from), 0, x(view.drag.to) - x(view.drag.from), height);
  context.globalAlpha = 1;
}

function drawTimeline() {
  if (runs.length === 0) return;
  const box = layout(), ratio = window.devicePixelRatio || 1;
  canvas.style.height = box.height + AXIS + 'px';
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round((box.height + AXIS) * ratio);
  const context = canvas.getContext('2d');
  const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(bytesOf(palette.ground));
  runs[view.run].timeline.workers.forEach((records, i) => {
    const top = Math.round(i * box.step * ratio), end = Math.round(((i + 1) * box.step - box.gap) * ratio);
    drawRow(pixels, width, top, end - top, shares(records, width));
  });
  context.putImageData(image, Math.round(box.left * ratio), 0);
  context.scale(ratio, ratio);
  drawAxes(context, box);
  drawDrag(context, box);
}

let frame = 0;
function redraw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(drawTimeline);
}

function totals(run) {
  const sum = ACTIVITIES.map(() => 0);
  for (const records of run.timeline.workers)
    for (let i = 0; i < records.length; i += RECORD)
      for (let a = 0; a < sum.length; a++) sum[a] += records[i + 3 + a];
  return sum;
}

function setView(from, to) {
  const first = runs[view.run].run.first_seconds, end = runs[view.run].seconds;
  const whole = end - first || 1;
  const span = Math.min(whole, Math.max(to - from, whole * 1e-6));
  view.from = Math.max(first, Math.min(from, first + whole - span));
  view.to = view.from + span;
  view.isWhole = span === whole;
  redraw();
}

/* Zooms about a place, 0 to 1 of the width. */
function zoom(factor, place) {
  const centre = view.from + place * (view.to - view.from), span = (view.to - view.from) * factor;
  setView(centre - place * span, centre + (1 - place) * span);
}

const pan = (part) => setView(view.from + part * (view.to - view.from), view.to + part * (view.to - view.from));
const wholeView = () => setView(-Infinity, Infinity);

function fillAccounts(run) {
  const columns = [['received', count], ['applied', count], ['dropped', count], ['held', count],
    ['compute_seconds', number], ['transit_seconds', number], ['waiting_seconds', number],
    ['caused_seconds', number], ['delays', count], ['sent_bytes', count], ['received_bytes', count]];
  const rows = run.summary ? run.summary.accounts : [];
  if (rows.some((account) => account.abandoned > 0))
    columns.splice(4, 0, ['abandoned', count], ['abandoned_seconds', number]);
  if (rows.some((account) => account.undone > 0))
    columns.splice(4, 0, ['undone', count]);
  const body = element('tbody');
  rows.forEach((account, worker) => {
    const row = body.appendChild(element('tr'));
    row.appendChild(element('th', String(worker))).scope = 'row';
    for (const [key, text] of columns) row.appendChild(element('td', text(account[key])));
    row.appendChild(element('td', percent(account.waiting_seconds / spent(account), 1)));
    row.appendChild(element('td', number(account.staleness_sum / account.applied, 3)));
    row.appendChild(element('td', count(account.most_staleness)));
  });
  const headings = columns.map(([key]) => key.replace('_seconds', ' s').replace('_bytes', ' B'));
  $('accounts').replaceChildren(headRow(['worker', ...headings, 'waiting share', 'mean staleness',
    'most staleness']), body);
}

function chooseRun(i) {
  view.run = i;
  describeTimeline(i);
  showRecord(null);
  wholeView();
}

/* After later data. */
function refreshTimeline() {
  describeTimeline(view.run);
  if (view.isWhole) wholeView();
  else redraw();
}

function describeTimeline(i) {
  const run = runs[i], sum = totals(run), all = sum.reduce((a, b) => a + b, 0);
  const caption = element('span', '(rows: workers' + (run.timeline.stride > 1
    ? ', one in ' + run.timeline.stride + ' of ' + run.run.workers : '') + '; axis: seconds)', 'quiet small');
  $('timeline-caption').replaceChildren(breakable(i) + ' ', caption);
  $('timeline-legend').replaceChildren();
  const texts = [];
  ACTIVITIES.forEach((name, a) => {
    if (sum[a] === 0) return;
    const block = element('span', '', 'block');
    block.dataset.activity = a;
    const item = $('timeline-legend').appendChild(element('span'));
    texts.push(name + ' ' + percent(sum[a] / all, 1));
    item.append(block, texts[texts.length - 1]);
  });
  canvas.setAttribute('aria-label', 'Timeline of ' + run.timeline.workers.length + ' workers: ' + texts.join(', '));
  if ($('accounts-box').open) fillAccounts(run);
  $('accounts-box').hidden = !run.summary;
  colourSwatches();
}

/* What the worker under the pointer was doing. */
function showRecord(event) {
  const values = $('timeline-values'), box = layout();
  const records = event && runs[view.run].timeline.workers[Math.floor(event.offsetY / box.step)];
  const seconds = event && secondsAt(event);
  const i = records ? RECORD * recordAfter(records, seconds) : 0;
  if (!records || i >= records.length || records[i] > seconds) {
    values.textContent = event ? '' : 'Point at a row to see what the worker did then.';
    return;
  }
  const worker = Math.floor(event.offsetY / box.step) * runs[view.run].timeline.stride;
  values.replaceChildren(
    element('span', 'worker ' + worker),
    element('span', number(records[i], 6) + ' to ' + number(records[i + 1], 6) + ' s'),
    element('span', records[i + 2] === 1 ? 'one gradient' : count(records[i + 2]) + ' gradients'));
  ACTIVITIES.forEach((name, a) => {
    const spell = records[i + 3 + a];
    if (spell > 0) values.appendChild(element('span', name + ' ' + number(spell, 3) + ' s'));
  });
}

function secondsAt(event) {
  const box = layout(), part = (event.offsetX - box.left) / box.width;
  return view.from + Math.max(0, Math.min(1, part)) * (view.to - view.from);
}

function openPointer() {
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    view.drag = {from: secondsAt(event), to: secondsAt(event)};
  });
  canvas.addEventListener('pointermove', (event) => {
    showRecord(event);
    if (!view.drag) return;
    view.drag.to = secondsAt(event);
    redraw();
  });
  canvas.addEventListener('pointerup', () => {
    const drag = view.drag;
    view.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 0.005 * (view.to - view.from))
      setView(Math.min(drag.from, drag.to), Math.max(drag.from, drag.to));
    else redraw();
  });
  canvas.addEventListener('pointercancel', () => { view.drag = null; redraw(); });
  canvas.addEventListener('pointerleave', () => showRecord(null));
  canvas.addEventListener('dblclick', wholeView);
  /* The plain wheel scrolls the page, as everywhere else; on the focused canvas, or with Ctrl, it zooms. */
  canvas.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
    event.preventDefault();
    const box = layout();
    zoom(Math.exp(Math.sign(event.deltaY) * 0.2), Math.max(0, Math.min(1, (event.offsetX - box.left) / box.width)));
  }, {passive: false});
}

function openTimeline() {
  runs.forEach((run, i) => { $('timeline-run').appendChild(element('option', title(i))).value = i; });
  $('timeline-choice').hidden = runs.length < 2;
  $('timeline-run').addEventListener('change', () => chooseRun(+$('timeline-run').value));
  const actions = {'zoom-in': () => zoom(0.5, 0.5), 'zoom-out': () => zoom(2, 0.5), 'pan-left': () => pan(-0.25),
    'pan-right': () => pan(0.25), 'zoom-reset': wholeView};
  for (const id of Object.keys(actions)) $(id).addEventListener('click', actions[id]);
  const keys = {'+': 'zoom-in', '=': 'zoom-in', '-': 'zoom-out', ArrowLeft: 'pan-left', ArrowRight: 'pan-right',
    '0': 'zoom-reset', Escape: 'zoom-reset'};
  canvas.addEventListener('keydown', (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[keys[event.key]]();
  });
  $('accounts-box').addEventListener('toggle', () => fillAccounts(runs[view.run]));
  openPointer();
  window.addEventListener('resize', redraw);
  chooseRun(0);
}
