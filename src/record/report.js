/* SPDX-License-Identifier: Apache-2.0 */
/* Draws the report from the JSON in the element #data (written by report.c): tables here, charts by dygraphs, the
 * timeline by report_timeline.js. Texts from the data reach the page by textContent alone. The page of a run that goes
 * on has no data at first, and asks for them where it came from until the run ends. */
'use strict';

let data = JSON.parse(document.getElementById('data').textContent);
let runs = data.runs;
const $ = (id) => document.getElementById(id);

/* Okabe and Ito's colours, told apart by colour-blind readers; the dark set is lighter. */
const PALETTES = {
  light: {
    runs: ['#0072b2', '#d55e00', '#009e73', '#b5508c', '#a87400', '#3f9fd6', '#666e78', '#7a4a1e'],
    activities: ['#0072b2', '#e69f00', '#d55e00', '#cc79a7', '#d5d9de'],
    text: '#1b1f24', quiet: '#5b6570', line: '#dde1e6', ground: '#ffffff', empty: '#f7f8fa',
  },
  dark: {
    runs: ['#5cb3f0', '#ff8f4a', '#2fc79c', '#e39ac6', '#f0c04a', '#a5d8f7', '#aab4be', '#d6a77a'],
    activities: ['#3d9ee0', '#e9ae2b', '#f0804a', '#d98bb8', '#3f464e'],
    text: '#e7eaed', quiet: '#9aa5b1', line: '#353b42', ground: '#14171a', empty: '#1c2024',
  },
};
const DASHES = [null, [7, 3], [2, 3]];
const darkQuery = window.matchMedia('(prefers-color-scheme: dark)');
let palette = darkQuery.matches ? PALETTES.dark : PALETTES.light;

const colour = (i) => palette.runs[i % palette.runs.length];
const dash = (i) => DASHES[Math.floor(i / palette.runs.length) % DASHES.length];

/* The policy; with the file that it comes from, or its number, where another run has the same. */
function title(i) {
  const own = runs[i].run.title || 'run ' + (i + 1);
  if (runs.every(({run}, k) => k === i || run.title !== runs[i].run.title)) return own;
  return own + ' · ' + (runs[i].source || 'run ' + (i + 1));
}

/* ---- Texts ---- */

function number(value, digits) {
  if (value === null || value === undefined || !isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(2);
  return value.toLocaleString('en', {maximumSignificantDigits: digits || 4, useGrouping: size >= 10000});
}

const count = (value) => (value === null || value === undefined ? '–' : value.toLocaleString('en'));
const percent = (value, digits) =>
  (value === null || value === undefined || !isFinite(value) ? '–' : (100 * value).toFixed(digits) + ' %');

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/* The title of a run with places to break the line: after commas and equals signs. */
const breakable = (i) => title(i).replace(/[,=]/g, '$&\u200b');

function swatch(i) {
  const made = element('span', '', 'swatch');
  made.setAttribute('aria-hidden', 'true');
  made.dataset.run = i;
  return made;
}

/* Swatches take their colours here, and again when the theme changes. */
function colourSwatches() {
  for (const made of document.querySelectorAll('.swatch[data-run]')) {
    made.style.borderTopColor = colour(+made.dataset.run);
    made.style.borderTopStyle = dash(+made.dataset.run) ? 'dashed' : 'solid';
  }
  for (const made of document.querySelectorAll('.share > span[data-run], .parts > span[data-run]'))
    made.style.background = colour(+made.dataset.run);
  for (const made of document.querySelectorAll('.block[data-activity]'))
    made.style.background = palette.activities[+made.dataset.activity];
}

/* ---- Tables ---- */

function sums(run) {
  const total = {received: 0, batches: 0, applied: 0, dropped: 0, held: 0, compute_seconds: 0,
    transit_seconds: 0, waiting_seconds: 0, staleness_sum: 0, most_staleness: 0, abandoned: 0, abandoned_seconds: 0};
  for (const account of run.summary ? run.summary.accounts : [])
    for (const key of Object.keys(total))
      total[key] = key === 'most_staleness' ? Math.max(total[key], account[key]) : total[key] + account[key];
  return total;
}

const spent = (account) => account.compute_seconds + account.transit_seconds + account.waiting_seconds
  + account.abandoned_seconds;

/* The worker that caused most of the waiting, by what, and its part of it. */
function heldUpBy(share, run) {
  if (share === null || !isFinite(share)) return '\u2013';
  return run.summary.straggler.worker + ' (' + run.summary.straggler.cause + ', ' + percent(share, 0) + ')';
}

/* [heading, value of a run, the text of (value, run), which end of the values is the best: 1 largest, -1 smallest, 0 neither] */
const RUN_COLUMNS = [
  ['seconds', (run) => run.seconds, (v) => number(v), 0],
  ['gradients', (run) => run.summary && sums(run).received, (v) => count(v), 0],
  ['local steps', (run) => run.summary && sums(run).batches > sums(run).received
    ? sums(run).batches / sums(run).received : null, (v) => number(v, 3), 0],
  ['updates', (run) => run.summary && run.summary.updates, (v) => count(v), 0],
  ['mean staleness', (run) => run.summary && sums(run).staleness_sum / sums(run).applied, (v) => number(v, 3), 0],
  ['waiting share', (run) => run.summary && sums(run).waiting_seconds / spent(sums(run)), (v) => percent(v, 1), 0],
  ['held up by worker', (run) => run.summary && run.summary.straggler && run.summary.straggler.share, heldUpBy, 0],
  ['server share', (run) => run.summary && run.summary.server_seconds / run.summary.t, (v) => percent(v, 1), 0],
  ['bias by worker', (run) => run.summary && run.summary.worker_bias, (v) => percent(v, 1), 0],
  ['bias by class', (run) => run.summary && run.summary.class_bias, (v) => percent(v, 1), 0],
  ['test loss', (run) => run.summary && run.summary.test_loss, (v) => number(v), -1],
  ['final accuracy', (run) => run.summary && run.summary.test_accuracy, (v) => percent(v, 2), 1],
  ['seconds to target', (run) => run.summary && run.summary.target_seconds, (v) => number(v), -1],
];

function bestOf(values, direction) {
  const known = values.filter((value) => value !== null && isFinite(value));
  if (direction === 0 || known.length < 2) return undefined;
  const best = direction > 0 ? Math.max(...known) : Math.min(...known);
  return known.every((value) => value === best) ? undefined : best;
}

function headRow(headings, className) {
  const head = element('thead');
  const row = head.appendChild(element('tr'));
  for (const heading of headings) row.appendChild(element('th', heading, className)).scope = 'col';
  return head;
}

function fillRuns() {
  const columns = RUN_COLUMNS.map(([heading, value, text, direction]) => {
    const values = runs.map(value);
    return {heading, values, text, best: bestOf(values, direction)};
  }).filter((column) => column.values.some((value) => value !== null && isFinite(value)));
  const body = element('tbody');
  runs.forEach((run, i) => {
    const row = body.appendChild(element('tr'));
    const head = row.appendChild(element('th', null, 'run-name'));
    head.scope = 'row';
    head.append(swatch(i), breakable(i));
    for (const column of columns) {
      const isBest = column.best !== undefined && column.values[i] === column.best;
      row.appendChild(element('td', column.text(column.values[i], runs[i]), isBest ? 'best' : ''));
    }
  });
  $('runs').replaceChildren(headRow(['policy'].concat(columns.map((column) => column.heading))), body);
  const endings = runs.map((run, i) => (run.summary ? null : title(i) + ' did not end in order')).filter(Boolean);
  const goals = [...new Set(runs.flatMap(({run}) => [
    run.target_accuracy && 'accuracy ' + percent(run.target_accuracy, 1),
    run.target_loss && 'loss ' + number(run.target_loss)]).filter(Boolean))];
  $('runs-note').textContent = [goals.length ? 'Target: ' + goals.join(', ') + '.' : ''].concat(
    endings.map((text) => text + '.')).filter(Boolean).join(' ');
}

/* A bar from 0 to `applied` with a mark at `data`, both on a scale that ends at `most`. */
function shareCell(share, most, i) {
  const cell = element('td', percent(share && share.applied_share, 1));
  if (!share || share.applied_share === null) return cell;
  const bar = cell.appendChild(element('div', null, 'share'));
  const filled = bar.appendChild(element('span'));
  filled.dataset.run = i;
  filled.style.width = 100 * share.applied_share / most + '%';
  bar.appendChild(element('span')).style.left = 100 * share.data_share / most + '%';
  return cell;
}

/* A row for each worker or class, a column for each run. `sharesOf`: the shares of a run, in the order of the rows. */
function fillShares(figure, heading, sharesOf) {
  const shares = runs.map((run) => (run.summary ? sharesOf(run.summary) : []));
  const all = shares.flat().filter(({applied_share: applied}) => applied !== null);
  const most = all.reduce((a, share) => Math.max(a, share.applied_share, share.data_share), 0);
  const body = element('tbody');
  const longest = shares.reduce((a, b) => (b.length > a.length ? b : a), []);
  longest.forEach((share, k) => {
    const row = body.appendChild(element('tr'));
    row.appendChild(element('th', String(k))).scope = 'row';
    row.appendChild(element('td', percent(share.data_share, 1)));
    shares.forEach((one, i) => row.appendChild(shareCell(one[k], most, i)));
  });
  figure.querySelector('table').replaceChildren(headRow([heading, 'data'].concat(runs.map((run, i) => breakable(i)))), body);
  figure.hidden = all.length === 0;
}

/* A bar of the worker's gradients: applied, then dropped and given up paler, on a scale that ends at `most`. */
function gradientsCell(account, most, i) {
  if (!account) return element('td', '–');
  const lost = account.dropped + account.abandoned;
  const cell = element('td', count(account.applied) + (lost > 0 ? ' + ' + count(lost) : ''));
  const bar = cell.appendChild(element('div', null, 'parts'));
  for (const part of [account.applied, lost]) {
    const filled = bar.appendChild(element('span'));
    filled.dataset.run = i;
    filled.style.width = 100 * part / most + '%';
  }
  return cell;
}

/* A row for each worker, a column for each run. */
function fillGradients() {
  const accounts = runs.map((run) => (run.summary ? run.summary.accounts : []));
  const sizes = accounts.flat().map((account) => account.applied + account.dropped + account.abandoned);
  const most = sizes.reduce((a, b) => Math.max(a, b), 0);
  const body = element('tbody');
  for (let worker = 0; worker < Math.max(...accounts.map((one) => one.length)); worker++) {
    const row = body.appendChild(element('tr'));
    row.appendChild(element('th', String(worker))).scope = 'row';
    accounts.forEach((one, i) => row.appendChild(gradientsCell(one[worker], most, i)));
  }
  $('worker-gradients').querySelector('table').replaceChildren(
    headRow(['worker'].concat(runs.map((run, i) => breakable(i)))), body);
  $('worker-gradients').hidden = most === 0;
}

function fillAllShares() {
  fillGradients();
  fillShares($('worker-shares'), 'worker', (summary) => summary.accounts);
  fillShares($('class-shares'), 'class', (summary) => summary.classes);
  $('shares').hidden = [...$('shares').querySelectorAll('figure')].every((figure) => figure.hidden);
  $('shares-note').hidden = $('worker-shares').hidden && $('class-shares').hidden;
}

function fillSettings() {
  const keys = [...new Set(runs.flatMap(({run}) => Object.keys(run.options)))];
  const rows = keys.map((key) => {
    const values = runs.map(({run}) => (key in run.options ? run.options[key] : '–'));
    return {key, values, differs: values.some((value) => value !== values[0])};
  });
  const body = element('tbody');
  for (const {key, values, differs} of rows.sort((a, b) => b.differs - a.differs)) {
    const row = body.appendChild(element('tr', null, differs ? 'differs' : ''));
    row.appendChild(element('th', key)).scope = 'row';
    for (const value of values) row.appendChild(element('td', value, 'text'));
  }
  $('settings').replaceChildren(headRow(['option'].concat(runs.map((run, i) => breakable(i))), 'text'), body);
  $('settings-box').hidden = keys.length === 0;
}

function fillSubtitle() {
  const one = (values, unit) => {
    const known = [...new Set(values)];
    return known.length === 1 && known[0] ? count(known[0]) + ' ' + unit + (known[0] === 1 ? '' : 's') : '';
  };
  const batch = one(runs.map(({run}) => run.batch), 'sample');
  const runtimes = [...new Set(runs.map(({run}) => run.runtime))];
  $('subtitle').textContent = [
    runs.length + (runs.length === 1 ? ' run' : ' runs'),
    runtimes.length === 1 && runtimes[0] ? 'runtime ' + runtimes[0] : '',
    one(runs.map(({run}) => run.workers), 'worker'),
    batch && batch + ' in a batch',
    one(runs.map(({run}) => run.train_count), 'training sample'),
    one(runs.map(({run}) => run.parameter_count), 'parameter'),
  ].filter(Boolean).join(' · ');
}

/* ---- Charts ---- */

let shown = [];
const charts = []; /* {spec, series, graph, values, box} */
const INTERVALS = 150; /* of means and extremes, over the width of a chart */

/* The gradients of a run at a time: recorded as means of short spans, and straight lines between them. */
function gradientsAt(run, seconds) {
  const points = run.gradients;
  let first = 0, end = points.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (points[middle][0] <= seconds) first = middle + 1;
    else end = middle;
  }
  const before = first > 0 ? points[first - 1] : [run.run.first_seconds, run.run.first_received || 0];
  const after = first < points.length ? points[first]
    : [run.seconds, points.length > 0 ? points[points.length - 1][3] : before[1]];
  const part = after[0] > before[0] ? Math.min(1, Math.max(0, (seconds - before[0]) / (after[0] - before[0]))) : 1;
  return before[1] + part * (after[1] - before[1]);
}

/* Where workers take local steps, those of a gradient on average. */
const batchesEach = (run) => run.summary && sums(run).received > 0 ? sums(run).batches / sums(run).received : 1;
const samplesEach = (run) => run.run.batch * batchesEach(run);

/* What the charts can be drawn against: where a time of a run lies. */
const AXES = {
  seconds: {unit: 's', place: (run, seconds) => seconds},
  gradients: {unit: 'gradients', place: gradientsAt},
  samples: {unit: 'samples', place: (run, seconds) => samplesEach(run) * gradientsAt(run, seconds)},
};
let axis = 'seconds';
const placeOf = (run, seconds) => AXES[axis].place(run, seconds);

/* Of all runs on the axis; a resumed one does not begin at 0. */
function wholeRange() {
  const from = Math.min(...runs.map((run) => placeOf(run, run.run.first_seconds)));
  const to = Math.max(...runs.map((run) => placeOf(run, run.seconds)));
  return [from, to > from ? to : from + 1];
}

let whole = [0, 1];
let range = whole; /* of the axis, which the charts show, [from, to] */

/* Evaluations know how many gradients there were; [place, ...the rest]. */
function evaluationsOf(run) {
  const exact = {seconds: (e) => e[0], gradients: (e) => e[4], samples: (e) => samplesEach(run) * e[4]}[axis];
  return run.evaluations.map((e) => [exact(e), ...e.slice(1)]);
}

/* Joins buckets [seconds, mean, least, most, count] that lie in one interval of the visible range, and puts them at
 * their places on the axis. */
function condense(run, buckets) {
  const [from, to] = range, joined = [];
  let interval = null;
  for (const [seconds, mean, least, most, weight] of buckets) {
    const at = placeOf(run, seconds), last = joined[joined.length - 1];
    const place = Math.floor(((at - from) / (to - from)) * INTERVALS);
    if (place !== interval) {
      joined.push([at, mean, least, most, weight]);
    } else {
      const sum = last[4] + weight;
      last[0] += ((at - last[0]) * weight) / sum;
      last[1] += ((mean - last[1]) * weight) / sum;
      last[2] = Math.min(last[2], least);
      last[3] = Math.max(last[3], most);
      last[4] = sum;
    }
    interval = place;
  }
  return joined;
}

/* A chart is made of series: {run, part, points [[place, value], ...], look}; without points it is left out. */
const CHARTS = [
  {id: 'accuracy', title: 'Test accuracy', unit: '%', digits: 4,
    series: (run) => [{points: evaluationsOf(run).map((e) => [e[0], e[2] === null ? null : 100 * e[2]])}]},
  {id: 'loss', title: 'Loss', unit: 'thick: test; thin: training, mean per interval', digits: 4, isLoss: true,
    series: (run) => [
      {part: 'test', points: evaluationsOf(run).map((e) => [e[0], e[1]])},
      {part: 'training', points: condense(run, run.loss).map((b) => [b[0], b[1]]),
        look: {strokeWidth: 0.9, drawPoints: false}}]},
  {id: 'threshold', title: 'Threshold K', unit: 'gradients per update', digits: 4, fromZero: true,
    series: (run) => [{points: run.threshold.concat(run.threshold.length
      ? [[run.seconds, run.threshold[run.threshold.length - 1][1]]] : [])
      .map(([seconds, value]) => [placeOf(run, seconds), value]),
    look: {stepPlot: true, drawPoints: false}}]},
  {id: 'ratio', title: 'Noise to signal', unit: 'of one gradient, as the policy estimates it', digits: 3, isLogarithmic: true,
    series: (run) => [{points: condense(run, run.ratio).map((b) => [b[0], b[1]]), look: {drawPoints: false}}]},
  {id: 'gain', title: 'Gain', unit: 'factor of the learning rate', digits: 3, fromZero: true,
    series: (run) => [{points: condense(run, run.gain).map((b) => [b[0], b[1]]), look: {drawPoints: false}}]},
  {id: 'cutoff', title: 'Cut-off', unit: 'staleness from which on gradients are dropped, versions', digits: 3,
    fromZero: true,
    series: (run) => [{points: condense(run, run.cutoff).map((b) => [b[0], b[1]]), look: {drawPoints: false}}]},
  {id: 'staleness', title: 'Staleness', unit: 'versions; thick: mean per interval, thin: largest', digits: 3,
    fromZero: true,
    series: (run) => [
      {part: 'mean', points: condense(run, run.staleness).map((b) => [b[0], b[1]]), look: {drawPoints: false}},
      {part: 'largest', points: condense(run, run.staleness).map((b) => [b[0], b[3]]),
        look: {strokeWidth: 1, drawPoints: false, strokePattern: [2, 2]}}]},
];

/* Rows [place, value of series 0, ...] at every place of any series; dygraphs joins the points across nulls. */
function joinRows(series) {
  const rows = new Map();
  series.forEach(({points}, i) => {
    for (const [place, value] of points) {
      if (!rows.has(place)) rows.set(place, new Array(series.length).fill(null));
      rows.get(place)[i] = value;
    }
  });
  return [...rows.entries()].sort((a, b) => a[0] - b[0]).map(([place, values]) => [place].concat(values));
}

function looks(series) {
  const made = {};
  series.forEach(({run, points, look}, i) => {
    made['s' + i] = Object.assign({color: colour(run), strokeWidth: 2, strokePattern: dash(run), pointSize: 2.5,
      drawPoints: points.length <= 60}, look);
  });
  return made;
}

/* The latest value at or before the place. */
function valueAt(points, place) {
  let first = 0, end = points.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (points[middle][0] <= place) first = middle + 1;
    else end = middle;
  }
  for (let i = first - 1; i >= 0; i--) if (points[i][1] !== null) return points[i][1];
  return null;
}

/* The line above a chart: what the visible series are at a place, or at their end. */
function showValues(chart, place) {
  const at = place === null ? Infinity : place;
  chart.values.replaceChildren(element('span', place === null ? 'at the end'
    : 'at ' + number(at) + ' ' + AXES[axis].unit));
  const visible = chart.series.filter(({run}) => shown[run]);
  for (const {run, part, points} of visible.slice(0, 12)) {
    const made = element('span');
    made.append(swatch(run), (part ? part + ' ' : '') + number(valueAt(points, at), chart.spec.digits));
    made.title = title(run);
    chart.values.appendChild(made);
  }
  colourSwatches();
}

function describe({spec, series}) {
  const ends = series.map(({run, part, points}) => title(run) + (part ? ' ' + part : '') + ' ends at ' +
    number(valueAt(points, Infinity), spec.digits));
  return spec.title + ' against ' + axis + '. ' + ends.join('; ');
}

/* Every chart shows the same range, with its intervals made anew. */
function setRange(from, to) {
  range = [Math.max(whole[0], from), Math.min(whole[1], to)];
  for (const chart of charts) {
    chart.series = seriesOf(chart.spec);
    chart.graph.updateOptions({file: joinRows(chart.series), dateWindow: range, xlabel: axis});
  }
  const isWhole = range[0] === whole[0] && range[1] === whole[1];
  $('from').value = isWhole ? '' : +range[0].toPrecision(6);
  $('to').value = isWhole ? '' : +range[1].toPrecision(6);
}

/* The same part of the whole, in the keyboard's and the buttons' steps. */
function zoomCharts(factor) {
  const centre = (range[0] + range[1]) / 2, half = Math.max((range[1] - range[0]) * factor, 1e-6 *
    (whole[1] - whole[0])) / 2;
  setRange(centre - half, centre + half);
}

function panCharts(part) {
  const span = range[1] - range[0];
  const from = Math.min(Math.max(range[0] + part * span, whole[0]), whole[1] - span);
  setRange(from, from + span);
}

const CHART_KEYS = {'+': () => zoomCharts(0.5), '=': () => zoomCharts(0.5), '-': () => zoomCharts(2),
  ArrowLeft: () => panCharts(-0.25), ArrowRight: () => panCharts(0.25), '0': () => showWhole(),
  Escape: () => showWhole()};

function chooseAxis(name) {
  axis = name;
  for (const unit of document.querySelectorAll('.axis-unit')) unit.textContent = AXES[axis].unit;
  whole = wholeRange();
  range = whole;
  showWhole();
  for (const chart of charts) {
    chart.box.setAttribute('aria-label', describe(chart));
    showValues(chart, null);
  }
}

/* Undoes every zoom. Resetting a chart calls its zoomCallback, which ends here again. */
let isResetting = false;
function showWhole() {
  if (isResetting) return;
  isResetting = true;
  for (const chart of charts) chart.graph.resetZoom();
  isResetting = false;
  setRange(...whole);
}

/* Numbers that follow the digits of the tick distance, so that neighbouring ticks never read the same. */
function tick(value) {
  const span = range[1] - range[0];
  return number(value, Math.max(4, Math.ceil(Math.log10(Math.abs(value) / span + 1)) + 3));
}

/* The spread of the training loss behind its mean, while there is room for it. */
function drawSpread(context, area, graph) {
  const visible = runs.map((run, i) => i).filter((i) => shown[i]);
  if (visible.length > 3) return;
  for (const i of visible) {
    const buckets = condense(runs[i], runs[i].loss);
    if (buckets.length < 2) continue;
    context.fillStyle = colour(i);
    context.globalAlpha = 0.13;
    context.beginPath();
    const least = graph.yAxisRange()[0];
    for (const b of buckets) context.lineTo(graph.toDomXCoord(b[0]), graph.toDomYCoord(b[3]));
    for (const b of buckets.slice().reverse())
      context.lineTo(graph.toDomXCoord(b[0]), graph.toDomYCoord(Math.max(b[2], least)));
    context.fill();
    context.globalAlpha = 1;
  }
}

function seriesOf(spec) {
  return runs.flatMap((run, i) => spec.series(run).map((one) => Object.assign({run: i}, one)))
    .filter(({points}) => points.some((point) => point[1] !== null));
}

/* The chart of a specification that has something to show, before those that follow it. */
function openChart(spec) {
  const series = seriesOf(spec);
  if (series.length === 0) return;
  $('charts-title').parentElement.hidden = false; /* a chart takes its size from its place */
  const next = charts.findIndex((one) => CHARTS.indexOf(one.spec) > CHARTS.indexOf(spec));
  const figure = $('charts').insertBefore(element('figure'), next < 0 ? null : charts[next].box.parentElement);
  const caption = figure.appendChild(element('figcaption', spec.title + ' '));
  caption.appendChild(element('span', '(' + spec.unit + ')', 'quiet small'));
  const chart = {spec, series, values: figure.appendChild(element('div', '', 'values'))};
  chart.box = figure.appendChild(element('div', '', 'chart'));
  chart.box.setAttribute('role', 'img');
  chart.box.tabIndex = 0;
  chart.box.addEventListener('keydown', (event) => {
    if (!(event.key in CHART_KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    CHART_KEYS[event.key]();
  });
  chart.box.setAttribute('aria-label', describe(chart));
  drawChart(chart);
  charts.splice(next < 0 ? charts.length : next, 0, chart);
  showValues(chart, null);
}

function drawChart(chart) {
  const {spec, series} = chart;
  chart.graph = new Dygraph(chart.box, joinRows(series), {
    labels: ['place'].concat(series.map((one, i) => 's' + i)), dateWindow: range,
    series: looks(series), connectSeparatedPoints: true, legend: 'never', xlabel: axis, xLabelHeight: 16,
    includeZero: Boolean(spec.fromZero), gridLineWidth: 1, gridLineColor: palette.line, axisLineColor: palette.line,
    highlightCircleSize: 3, xRangePad: 4, yRangePad: 6, rightGap: 8, axisLabelFontSize: 12,
    axes: {x: {drawGrid: false, axisLabelFormatter: tick, pixelsPerLabel: 70, axisLabelWidth: 64},
      y: {axisLabelFormatter: (value) => number(value, 4), axisLabelWidth: 46, pixelsPerLabel: 36}},
    logscale: Boolean(spec.isLogarithmic || (spec.isLoss && $('logarithmic').checked)), underlayCallback: spec.isLoss ? drawSpread : null,
    highlightCallback: (event, x) => showValues(chart, x),
    unhighlightCallback: () => showValues(chart, null),
    zoomCallback: (from, to) => (chart.graph.isZoomed('x') ? setRange(from, to) : showWhole()),
  });
}

function openLegend() {
  runs.forEach((run, i) => {
    const button = $('legend').appendChild(element('button', null, 'run'));
    button.type = 'button';
    button.setAttribute('aria-pressed', 'true');
    button.append(swatch(i), breakable(i));
    button.addEventListener('click', () => {
      shown[i] = !shown[i];
      button.setAttribute('aria-pressed', String(shown[i]));
      for (const chart of charts) {
        chart.graph.setVisibility(chart.series.map(({run: r}) => shown[r]), true);
        showValues(chart, null);
      }
    });
  });
  $('legend').hidden = runs.length < 2;
}

function openRange() {
  const apply = () => {
    const from = $('from').value === '' ? whole[0] : +$('from').value;
    const to = $('to').value === '' ? whole[1] : +$('to').value;
    if (to > from) setRange(from, to);
  };
  $('from').addEventListener('change', apply);
  $('to').addEventListener('change', apply);
  $('whole').addEventListener('click', showWhole);
  $('axis').addEventListener('change', () => chooseAxis($('axis').value));
  $('logarithmic').addEventListener('change', () => {
    for (const chart of charts)
      if (chart.spec.isLoss) chart.graph.updateOptions({logscale: $('logarithmic').checked});
  });
}

/* Where every loss is positive. */
function offerLogarithm() {
  const losses = charts.filter((chart) => chart.spec.isLoss);
  const isPositive = losses.every(({series}) =>
    series.every(({points}) => points.every((point) => point[1] === null || point[1] > 0)));
  $('logarithmic').parentElement.hidden = losses.length === 0 || !isPositive;
}

function openCharts() {
  if (typeof Dygraph === 'undefined') {
    $('charts-title').parentElement.replaceChildren(element('p',
      'There are no charts: hysgd was built without dygraphs (Debian package libjs-dygraphs).', 'quiet'));
    $('library').hidden = true;
    return;
  }
  openLegend();
  CHARTS.forEach(openChart);
  openRange();
  offerLogarithm();
  $('charts-title').parentElement.hidden = charts.length === 0;
}

/* After later data: a zoom stays as it is, the whole run stays whole. */
function refreshCharts() {
  if (typeof Dygraph === 'undefined') return;
  const isWhole = range[0] === whole[0] && range[1] === whole[1];
  whole = wholeRange();
  if (isWhole) range = whole;
  for (const chart of charts) {
    const count = chart.series.length;
    chart.series = seriesOf(chart.spec);
    if (chart.series.length === count) continue;
    chart.graph.destroy();
    drawChart(chart);
  }
  CHARTS.filter((spec) => charts.every((chart) => chart.spec !== spec)).forEach(openChart);
  setRange(...range);
  for (const chart of charts) {
    chart.box.setAttribute('aria-label', describe(chart));
    showValues(chart, null);
  }
  offerLogarithm();
  $('charts-title').parentElement.hidden = charts.length === 0;
}

/* ---- The page ---- */

function setTheme(isDark) {
  palette = isDark ? PALETTES.dark : PALETTES.light;
  for (const chart of charts)
    chart.graph.updateOptions({series: looks(chart.series), gridLineColor: palette.line,
      axisLineColor: palette.line});
  colourSwatches();
  drawTimeline();
}

function show() {
  shown = runs.map(() => true);
  whole = wholeRange();
  range = whole;
  document.querySelector('main').hidden = false;
  fillSubtitle();
  fillRuns();
  fillSettings();
  fillAllShares();
  openCharts();
  openTimeline();
  darkQuery.addEventListener('change', () => setTheme(darkQuery.matches));
  window.addEventListener('beforeprint', () => setTheme(false)); /* paper is white */
  window.addEventListener('afterprint', () => setTheme(darkQuery.matches));
}

function refresh() {
  fillRuns();
  fillAllShares();
  refreshCharts();
  refreshTimeline();
  colourSwatches();
}

/* ---- A run that goes on ---- */

const MOST_FAILURES = 30;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const visible = () => new Promise((resolve) => {
  if (!document.hidden) resolve();
  else document.addEventListener('visibilitychange', resolve, {once: true});
});

function showLive(text) {
  $('live').textContent = text;
  $('live').hidden = false;
}

async function takeMoment() {
  const answer = await fetch('data?after=' + data.serial, {cache: 'no-store'});
  if (!answer.ok) throw new Error(answer.statusText);
  const isFirst = runs.length === 0;
  data = await answer.json();
  runs = data.runs;
  if (isFirst) show();
  else refresh();
  markDrawn();
}

/* The server answers when there is something later, about once a second. */
async function watch() {
  for (let failures = 0; failures < MOST_FAILURES;) {
    await visible();
    try {
      await takeMoment();
      failures = 0;
      if (!runs[0].is_running) return showLive('The run has ended: ' + runs[0].summary.reason + '.');
      showLive('Live, ' + number(runs[0].seconds) + ' s into the run.');
    } catch (error) {
      failures++;
      showLive('The run has ended, or it does not answer.');
      await sleep(1000);
    }
  }
}

/* ---- Beginning ---- */

/* For whoever looks after pages by program: what is drawn, and after how many milliseconds. */
function markDrawn() {
  requestAnimationFrame(() => setTimeout(() => {
    const {dataset} = document.documentElement;
    dataset.drawn = charts.map(({spec}) => spec.id).concat(runs.length ? 'timeline' : []).join(' ');
    dataset.milliseconds = Math.round(performance.now());
  }));
}

$('title').textContent = data.title;
document.title = data.title;
if (runs.length > 0) {
  show();
} else {
  $('subtitle').textContent = data.is_live ? '' : 'No runs.';
  document.querySelector('main').hidden = true;
}
markDrawn();
if (data.is_live) watch();
