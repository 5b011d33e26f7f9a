// The little that the pages need besides htmx: see internal/pages/doc.go.
'use strict';

// The session has ended: loading the page again leads to the sign-in page.
document.addEventListener('ended', () => location.reload());
