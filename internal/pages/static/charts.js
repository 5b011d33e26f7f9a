// Draws the charts of the page of a number from the points in #chart-data, again whenever they change.
'use strict';

(() => {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const host = id => document.getElementById(id);
  const clock = t => t ? new Date(t * 1000).toISOString().slice(11, 19) : '';
  let drawn = '', charts = [];

  function chart(id, data, series) {
    const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line') } };
    return new uPlot({
      width: host(id).clientWidth, height: 220,
      scales: { y: { range: (u, least, most) => [0, Math.max(1, most * 1.05)] } },
      axes: [{ ...axis, values: (u, times) => times.map(clock), space: 80 }, { ...axis, size: 60 }],
      series: [{ label: 'UTC', value: (u, t) => clock(t) }, ...series],
    }, data, host(id));
  }

  function draw(again) {
    const text = host('chart-data')?.dataset.points;
    if (!text || text === drawn && !again) return;
    drawn = text;
    const [at, attempts, rate, limit, waiting, throttled, failed, latency, longest] = JSON.parse(text);
    const data = [[at, attempts, rate, limit], [at, waiting], [at, throttled, failed], [at, latency, longest]];
    if (charts.length && !again) {
      charts.forEach((c, i) => c.setData(data[i]));
      return;
    }
    charts.forEach(c => c.destroy());
    charts = [
      chart('chart-rate', data[0], [
        { label: 'Attempts', stroke: colour('--do'), width: 2 },
        { label: 'Effective rate', stroke: colour('--focus'), width: 1.5 },
        { label: 'Rate limit', stroke: colour('--warn-text'), width: 1, dash: [6, 4] },
      ]),
      chart('chart-backlog', data[1], [{ label: 'Waiting', stroke: colour('--focus'), width: 2 }]),
      chart('chart-throttled', data[2], [
        { label: 'Too fast', stroke: colour('--warn-text'), width: 2 },
        { label: 'Other failures', stroke: colour('--do'), width: 1.5 },
      ]),
      chart('chart-latency', data[3], [
        { label: 'Mean, ms', stroke: colour('--focus'), width: 2 },
        { label: 'Longest, ms', stroke: colour('--do'), width: 1 },
      ]),
    ];
  }

  draw();
  new MutationObserver(() => draw()).observe(host('live'), { subtree: true, childList: true, attributes: true });
  addEventListener('resize', () => draw(true));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(true));
})();
