// The little that the pages need besides htmx: see internal/pages/doc.go.
'use strict';

// load loads the page again. reload() would repeat the action that it is the answer to.
const load = () => location.replace(location.pathname + location.search);

// The session has ended: loading the page again leads to the sign-in page.
document.addEventListener('ended', load);

// A page that shows old figures as if they were live is worse than none. htmx opens a stream again when it ends, but not when its
// first request fails, or when it hangs. So a page whose stream is silent is loaded again, once the server answers, unless
// the user is writing in it.
let heard = Date.now();
for (const sign of ['htmx:sse:after:connection', 'htmx:sse:after:message', 'visibilitychange']) {
  document.addEventListener(sign, () => { heard = Date.now(); });
}
setInterval(async () => {
  const live = document.querySelector('#live[hx-sse\\:connect]');
  if (!live || document.hidden || Date.now() - heard < 20_000 || document.activeElement?.matches('input, textarea, select')) return;
  heard = Date.now();
  try {
    if ((await fetch(location.href)).ok) load();
  } catch { /* the server is away */ }
}, 2_000);
