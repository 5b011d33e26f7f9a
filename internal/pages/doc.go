// Package pages serves the web pages of operators on the console listener, under /console/.
//
// The pages are a client of Sluice's own APIs. A page asks the console API or the API of callers in this process, with
// the rights of the API key of its session, and renders the answer. So every rule (scopes, numbers of a key, checks,
// audit log, texts of problems) has its only home in the APIs.
//
// To add a page:
//
//  1. Write a file with a function that returns a page: its path, its title, its read function, and its acts by name.
//     read calls view.console or view.api, and returns the data of the template. holds.go is a short example.
//  2. Add the function to the table in pages.go.
//  3. Write templates/<name>.html. It defines "main"; a page with live: true puts what changes by itself into
//     {{template "live-region" .}} and defines "live". A live region has no fields to type into: forms are outside of it.
//     partials.html has what pages share: tables, times, problems, the reason of an act.
//  4. An act is a form that ends with {{template "act" (dict "Act" "hold" "Button" "Hold" "Form" .Form)}}, sent by POST to
//     the page itself. A list shows it when the address asks for it: ?release=1&tag=spring. Its function makes a request of
//     the API and returns what happened in words, or what the page shows at once (done.show: the result of a search or of a dry
//     run). A problem is shown on the page, which keeps what was typed.
//
// The page Import is the one whose script acts: it sends a file over a WebSocket, see serveImport.
//
// Templates get a frame. html/template escapes all values; never use template.HTML for a value that comes from outside.
package pages
