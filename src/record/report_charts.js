/* SPDX-License-Identifier: Apache-2.0 */
/* The charts of the report: curves by dygraphs against time, gradients or samples, all over one range that pointer and
 * keyboard change. Defines functions for report.js, which is loaded after it and lends it texts and colours. */
'use strict';

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

/* The title of a chart may depend on the runs. */
const titleOf = (spec) => (typeof spec.title === 'function' ? spec.title() : spec.title);

/* A chart is made of series: {run, part, points [[place, value], ...], look}; without points it is left out. */
const CHARTS = [
  {id: 'accuracy', title: () => 'Test ' + commonName('accuracy_name', 'accuracy'), unit: '%', digits: 4,
    series: (run) => [{points: evaluationsOf(run).map((e) => [e[0], e[2] === null ? null : 100 * e[2]])}]},
  {id: 'loss', title: () => commonName('loss_name', 'Loss'), unit: 'thick: test; thin: training, mean per interval', digits: 4, isLoss: true,
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
  return titleOf(spec) + ' against ' + axis + '. ' + ends.join('; ');
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
  const caption = figure.appendChild(element('figcaption', titleOf(spec) + ' '));
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
