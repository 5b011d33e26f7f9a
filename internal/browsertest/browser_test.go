package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"sluice/internal/nodetest"
)

// stepLimit bounds one step in the browser. On a busy machine a page can take seconds.
const stepLimit = time.Minute

// images is the folder of the screenshots of the documentation; empty: none are taken.
var images = os.Getenv("SLUICE_TEST_IMAGES")

// axe returns the program that checks a page for mistakes that keep people with disabilities out.
var axe = sync.OnceValues(func() (string, error) {
	dir := filepath.Join("..", "..", "out", "browsertest")
	if err := nodetest.Install("node", dir); err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(b), err
})

// startBrowser starts a Chromium for all tests. Each opens its tabs in a profile of their own.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v. Install chromium", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // starts Chromium; a time limit here would end it
		t.Fatal(err)
	}
	return ctx
}

// tab is a tab with a profile of its own. It fails the test for everything that the page reports to the browser's console.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string
	mu   sync.Mutex
	said []string
}

func (w *world) openTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(w.browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx, base: w.console}
	if err := chromedp.Do(ctx); err != nil { // opens it; a time limit here would close it
		cancel()
		t.Fatal(err)
	}
	var listening sync.WaitGroup
	said := chromedp.Console(ctx) // breaches of the Content-Security-Policy come here too
	listening.Go(func() {
		for m, err := range said {
			if err != nil {
				return
			}
			switch m.Type {
			case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
				b.say(m.String())
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		listening.Wait()
		for _, s := range b.said {
			t.Errorf("the browser's console: %s", s)
		}
	})
	return b
}

func (b *tab) say(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, s)
}

// forget drops what the browser's console said, after a step that makes it say something.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = nil
}

// do runs actions, which wait for what they need. When they take too long, the test ends with what the page shows.
func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail(what, err)
	}
}

// get runs an action and returns its value.
func get[T any](b *tab, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.fail(what, err)
	}
	return v
}

func (b *tab) fail(what string, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	shown, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + " shows:\n" + document.body.innerText`))
	b.t.Fatalf("%s: %v\n%s", what, err, shown)
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.base+path), chromedp.WaitReady("body"))
}

// until waits until a JavaScript expression is true. The page may load another one meanwhile.
func (b *tab) until(what, js string) {
	b.t.Helper()
	b.do(what, chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		for {
			if holds, err := chromedp.Evaluate[bool]("!!("+js+")")(ctx, page); err == nil && holds {
				return nil
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond): // the page changes by itself
			}
		}
	}))
}

// shows waits until an element has a text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s shows %q", selector, text), fmt.Sprintf(`[...document.querySelectorAll(%s)].some(e => e.innerText.includes(%s))`, quote(selector), quote(text)))
}

// hidden waits until no element that the selector finds has the text.
func (b *tab) hidden(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s without %q", selector, text), fmt.Sprintf(`![...document.querySelectorAll(%s)].some(e => e.innerText.includes(%s))`, quote(selector), quote(text)))
}

// click clicks the button or link with a text, and waits for the page that it leads to.
func (b *tab) click(text string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll("button, a, summary, input[type=submit]")].find(e => (e.innerText || e.value || "").trim() === %s && e.offsetParent)`, quote(text))
	b.until("there is "+text, find)
	b.act("click "+text, fmt.Sprintf(`(e => { window.left = e.matches("a") || e.type === "submit"; e.click(); return true })(%s)`, find))
}

// submit submits a form by its button, and waits for the page that answers.
func (b *tab) submit(form string) {
	b.t.Helper()
	b.act("submit "+form, fmt.Sprintf(`(e => { window.left = true; e.requestSubmit(document.querySelector(%s)); return true })(document.getElementById(%s))`, quote("#"+form+" button.do"), quote(form)))
}

// act evaluates JavaScript that sets window.left if it leads to another page. Then it waits for that page: a step that came
// too early would act on the old one.
func (b *tab) act(what, js string) {
	b.t.Helper()
	b.do(what, chromedp.Evaluate[chromedp.Void](js))
	b.until(what+": the next page", `!window.left && document.readyState === "complete"`)
}

// keys presses keys, one after the other: \t is Tab, and \r is Enter.
func (b *tab) keys(text string) {
	b.t.Helper()
	b.do("press keys", chromedp.KeyEvent(text))
}

// tabTo presses Tab until the focus is where a JavaScript expression is true.
func (b *tab) tabTo(what, js string) {
	b.t.Helper()
	for range 60 {
		b.keys("\t")
		if get(b, what, chromedp.Evaluate[bool]("!!("+js+")")) {
			return
		}
	}
	b.fail("Tab does not reach "+what, context.DeadlineExceeded)
}

// fill puts a value into the field with a name, as typing would.
func (b *tab) fill(name, value string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.getElementsByName(%s)].find(e => e.checkVisibility() && e.type !== "hidden")`, quote(name))
	b.until("there is the field "+name, find)
	b.do("fill "+name, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		`(e => { e.value = %s; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})) })(%s)`, quote(value), find)))
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// looks checks the page that is open: with axe, in light and dark, and that nothing is wider than a narrow telephone. With
// SLUICE_TEST_IMAGES it stores screenshots with this name.
func (b *tab) looks(name string) {
	b.t.Helper()
	program, err := axe()
	check(b.t, err)
	for _, mode := range []struct {
		suffix, scheme string
		width          int64
		rules          string // empty: all
	}{
		{"light", "light", 1280, ""},
		{"dark", "dark", 1280, `, runOnly: ["color-contrast"]`}, // nothing else depends on the colours
		{"360px", "light", 360, ""},
	} {
		b.do("show "+mode.suffix,
			chromedp.EmulateViewport(mode.width, 900),
			chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
				_, err := cdp.Call(ctx, page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: mode.scheme}},
				})
				return err
			}))
		if images != "" {
			check(b.t, os.WriteFile(filepath.Join(images, fmt.Sprintf("%s-%s.png", name, mode.suffix)), get(b, "screenshot", chromedp.CaptureScreenshot()), 0o644))
		}
		if wide := get(b, "measure", chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); wide > mode.width {
			b.t.Errorf("%s is %d px wide on a screen of %d px", name, wide, mode.width)
		}
		if get(b, "is axe loaded", chromedp.Evaluate[bool](`!window.axe`)) {
			// The browser's debugger runs it, so that the policy of the page does not forbid it.
			b.do("load axe", chromedp.Evaluate[chromedp.Void](program+";0"))
		}
		found := get(b, "axe", chromedp.Evaluate[[]violation](fmt.Sprintf(`axe.run(document, {resultTypes: ["violations"]%s}).then(r => r.violations)`, mode.rules), chromedp.EvalAwaitPromise))
		for _, v := range found {
			var nodes []string
			for _, n := range v.Nodes {
				nodes = append(nodes, n.HTML+" "+n.FailureSummary)
			}
			b.t.Errorf("%s, %s: axe: %s: %s\n%s", name, mode.suffix, v.ID, v.Help, strings.Join(nodes, "\n"))
		}
	}
	b.do("show normal", chromedp.ResetViewport())
}

// violation is one kind of mistake that axe found.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}
