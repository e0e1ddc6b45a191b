/* SPDX-License-Identifier: Apache-2.0 */
/* Draws the report from the JSON in the element #data (written by report.c): tables here, charts by
 * report_charts.js, the timeline by report_timeline.js. Texts from the data reach the page by textContent alone. The
 * page of a run that goes on has no data at first, and asks for them where it came from until the run ends. */
'use strict';

let data = JSON.parse(document.getElementById('data').textContent);
let runs = data.runs;
const $ = (id) => document.getElementById(id);

/* Okabe and Ito's colours, told apart by colour-blind readers; the dark set is lighter. */
const PALETTES = {
  light: {
    runs: ['#0072b2', '#d55e00', '#009e73', '#b5508c', '#a87400', '#3f9fd6', '#666e78', '#7a4a1e'],
    activities: ['#56b4e9', '#0072b2', '#009e73', '#f0e442', '#e69f00', '#d55e00', '#cc79a7', '#d5d9de'],
    text: '#1b1f24', quiet: '#5b6570', line: '#dde1e6', ground: '#ffffff', empty: '#f7f8fa',
  },
  dark: {
    runs: ['#5cb3f0', '#ff8f4a', '#2fc79c', '#e39ac6', '#f0c04a', '#a5d8f7', '#aab4be', '#d6a77a'],
    activities: ['#9fd3f5', '#3d9ee0', '#2fc79c', '#efe56a', '#e9ae2b', '#f0804a', '#d98bb8', '#3f464e'],
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
    transit_seconds: 0, waiting_seconds: 0, staleness_sum: 0, most_staleness: 0, abandoned: 0, abandoned_seconds: 0,
    sent_bytes: 0, received_bytes: 0};
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

/* What all runs call their losses or accuracies; `word` where they differ, or have no name of their own. */
function commonName(field, word) {
  const names = new Set(runs.map(({run}) => run[field] || word));
  return names.size === 1 ? [...names][0] : word;
}

/* [heading or a function that gives it, value of a run, the text of (value, run), which end of the values is the best: 1 largest, -1 smallest, 0 neither] */
const RUN_COLUMNS = [
  ['seconds', (run) => run.seconds, (v) => number(v), 0],
  ['gradients', (run) => run.summary && sums(run).received, (v) => count(v), 0],
  ['local steps', (run) => run.summary && sums(run).batches > sums(run).received
    ? sums(run).batches / sums(run).received : null, (v) => number(v, 3), 0],
  ['gradients undone', (run) => run.summary && run.summary.undone || null, (v) => count(v), 0],
  ['bytes sent', (run) => run.summary && sums(run).sent_bytes || null, (v) => count(v), 0],
  ['updates', (run) => run.summary && run.summary.updates, (v) => count(v), 0],
  ['mean staleness', (run) => run.summary && sums(run).staleness_sum / sums(run).applied, (v) => number(v, 3), 0],
  ['waiting share', (run) => run.summary && sums(run).waiting_seconds / spent(sums(run)), (v) => percent(v, 1), 0],
  ['held up by worker', (run) => run.summary && run.summary.straggler && run.summary.straggler.share, heldUpBy, 0],
  ['server share', (run) => run.summary && run.summary.server_seconds / run.summary.t, (v) => percent(v, 1), 0],
  ['bias by worker', (run) => run.summary && run.summary.worker_bias, (v) => percent(v, 1), 0],
  ['bias by class', (run) => run.summary && run.summary.class_bias, (v) => percent(v, 1), 0],
  [() => 'test ' + commonName('loss_name', 'loss'), (run) => run.summary && run.summary.test_loss, (v) => number(v), -1],
  [() => 'final ' + commonName('accuracy_name', 'accuracy'), (run) => run.summary && run.summary.test_accuracy, (v) => percent(v, 2), 1],
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
    return {heading: typeof heading === 'function' ? heading() : heading, values, text, best: bestOf(values, direction)};
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
    run.target_accuracy && (run.accuracy_name || 'accuracy') + ' ' + percent(run.target_accuracy, 1),
    run.target_loss && (run.loss_name || 'loss') + ' ' + number(run.target_loss)]).filter(Boolean))];
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
