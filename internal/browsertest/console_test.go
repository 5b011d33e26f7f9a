package browsertest

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sluice/client"
	"sluice/internal/poll"
	"sluice/internal/rig"
)

// signIn opens the console and signs in.
func (w *world) signIn(t *testing.T, key string) *tab {
	t.Helper()
	b := w.openTab(t)
	b.open("/")
	b.fill("actor", "Anna")
	b.fill("key", key)
	b.click("Sign in")
	b.shows("nav", "Holds")
	return b
}

// One world serves all tests, which use numbers and recipients of their own. It starts with the first.
func TestConsole(t *testing.T) {
	w := startWorld(t)
	t.Run("sign in", func(t *testing.T) { testSignIn(t, w) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, w) })
	t.Run("send", func(t *testing.T) { testSend(t, w) })
	t.Run("dead stream", func(t *testing.T) { testDeadStream(t, w) })
	t.Run("hold and release", func(t *testing.T) { testHold(t, w) })
	t.Run("in doubt", func(t *testing.T) { testInDoubt(t, w) })
	t.Run("dead letters", func(t *testing.T) { testDeadLetters(t, w) })
	t.Run("failed", func(t *testing.T) { testFailed(t, w) })
	t.Run("campaigns", func(t *testing.T) { testCampaigns(t, w) })
	t.Run("import", func(t *testing.T) { testImport(t, w) })
	t.Run("relay", func(t *testing.T) { testRelay(t, w) })
	t.Run("schedules", func(t *testing.T) { testSchedules(t, w) })
	t.Run("directory", func(t *testing.T) { testDirectory(t, w) })
	t.Run("client", func(t *testing.T) { testClient(t, w) })
	t.Run("overview and number", func(t *testing.T) { testOverview(t, w) }) // with what the others left
	t.Run("reports", func(t *testing.T) { testReports(t, w) })
}

// A browser without a session gets the sign-in page, a wrong key is refused, and a session ends with the sign-out.
func testSignIn(t *testing.T, w *world) {
	b := w.openTab(t)
	b.open("/console/holds")
	b.shows("h1", "Sign in")
	b.looks("sign-in")
	b.fill("actor", "Anna")
	b.fill("key", "no such key")
	b.click("Sign in")
	b.shows("#failed", "API key")
	b.forget() // the browser says that the answer is a 401
	b.fill("key", rig.APIKey)
	b.click("Sign in")
	b.shows("h1", "Holds")
	b.click("Sign out")
	b.shows("h1", "Sign in")
	b.open("/console/holds")
	b.shows("h1", "Sign in")
}

// Everything can be reached and done with the keyboard: sign in, open a page, set a hold.
func testKeyboard(t *testing.T, w *world) {
	b := w.openTab(t)
	b.open("/console/")
	b.keys("\t")
	b.until("the first stop is the link to the content", `document.activeElement.className === "skip"`)
	b.tabTo("the name", `document.activeElement.id === "actor"`)
	b.keys("Anna\t" + rig.APIKey + "\r")
	b.shows("h1", "Overview")
	b.tabTo("the link to the holds", `document.activeElement.innerText === "Holds"`)
	b.keys("\r")
	b.shows("h1", "Holds")
	b.tabTo("the tag", `document.activeElement.id === "hold-tag"`)
	b.keys("by-keyboard")
	b.tabTo("the reason", `document.activeElement.id === "hold-reason"`)
	b.keys("no mouse\r")
	b.shows("#done", "Held") // the page before shows the hold too, until the answer comes
	b.tabTo("the release", `document.activeElement.innerText === "Release"`)
	b.keys("\r")
	b.shows("#release-title", "Release a hold")
	b.tabTo("the reason of the release", `document.activeElement.id === "release-reason"`)
	b.keys("done\r")
	b.shows("#empty", "Nothing is held")
}

// A held number keeps its messages until it is released. A key that only reads sees the hold, and no way to change it.
func testHold(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/holds")
	b.shows("#empty", "Nothing is held")
	b.fill("phone_number_id", w.numbers[1])
	b.fill("reason", "wrong price")
	b.click("Hold")
	b.shows("#holds", "wrong price")
	before := w.accepted(t)
	const n = 5
	for i := range n {
		w.send(t, 1, fmt.Sprintf("+1555010%04d", i), "utility", "held")
	}
	b.shows("#holds td.n", fmt.Sprint(n)) // the page follows by itself
	b.looks("holds")
	viewer := w.signIn(t, readOnlyKey)
	viewer.open("/console/holds")
	viewer.shows("#holds", "wrong price")
	viewer.hidden("a, button", "Release")
	viewer.hidden("button", "Hold")
	viewer.looks("holds-read-only")
	if now := w.accepted(t); now != before {
		t.Errorf("%d messages of the held number were sent", now-before)
	}
	b.click("Release")
	b.fill("reason", "price corrected")
	b.submit("release")
	b.shows("#empty", "Nothing is held")
	poll.Until(t, "the messages to leave", func() bool { return w.accepted(t) == before+n })
	b.open("/console/audit")
	b.shows("table", "price corrected")
	b.looks("audit")
}

// A page whose stream is dead, and is not opened again, is loaded again.
func testDeadStream(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/holds")
	b.until("the page is live", `document.getElementById("live")._htmx?.sse?.reader != null`)
	b.until("its stream ends", `(s => { window.old = true; s.config.reconnect = false; s.reader.cancel(); return true })(document.getElementById("live")._htmx.sse)`)
	b.until("it is loaded again", `window.old === undefined`)
	b.until("it is live again", `document.getElementById("live")._htmx?.sse?.reader != null`)
}

// A message that is composed in the browser is checked while it is typed. It is sent, is found by its recipient, and its page follows
// it until it is read.
func testSend(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/send?example=text")
	b.shows("#badge", "Simulator")
	b.fill("phone_number_id", w.numbers[0])
	b.fill("message", `{"to": "+15550101234", "type": "text", "text": {"body": ""}}`)
	b.shows("#check", "text.body") // without a click
	b.fill("message", `{"to": "+15550101234", "type": "text", "text": {"body": "Your order is on its way."}}`)
	b.shows("#check", "Sluice would accept this message")
	b.shows("#curl", "$SLUICE_API_KEY")
	b.looks("send")
	b.fill("ref", "order-7")
	b.fill("reason", "a customer asked")
	b.submit("send")
	b.shows("#done", "The message is accepted.")
	b.until("there is its id", `location.pathname.includes("/messages/")`)
	w.reaches(t, path.Base(get(b, "address", chromedp.Location())), client.StateRead)
	b.shows("#state", "read") // the page follows by itself
	b.shows("#timeline", "submitted")
	b.looks("message")

	b.open("/console/messages")
	b.fill("by", "recipient")
	b.fill("text", "+1 555 010 1234")
	b.submit("find")
	b.shows("#messages", "order-7")
	b.looks("messages")
	if at := get(b, "address", chromedp.Location()); strings.Contains(at, "1234") {
		t.Errorf("the recipient is in the address %s", at)
	}
	viewer := w.signIn(t, readOnlyKey)
	viewer.open("/console/send")
	viewer.shows("#empty", "may not send")
}

// A message whose result is unknown waits for an operator. A dry run changes nothing, and the decision ends the wait.
func testInDoubt(t *testing.T, w *world) {
	id := w.send(t, 0, "+99999900005", "utility", "in-doubt") // the connection is reset, and no status comes
	w.reaches(t, id, client.StateParked)
	b := w.signIn(t, rig.APIKey)
	b.open("/console/in-doubt")
	b.shows("#in-doubt", id)
	b.looks("in-doubt")
	b.do("choose it and a decision", chromedp.Evaluate[chromedp.Void](`document.querySelector("#in-doubt input").click(); document.querySelector("input[value=cancel]").click()`))
	b.click("Dry run")
	b.shows("#dry-run", "nothing was changed")
	b.fill("reason", "the customer got it")
	b.click("Decide")
	b.shows("#empty", "No message is in doubt")
	w.reaches(t, id, client.StateCancelled)
	b.open("/console/messages/" + id)
	b.shows("#timeline", "cancelled")
}

// Dead letters are sent again as a group, after a dry run. Meta's unknown code makes these dead once more.
func testDeadLetters(t *testing.T, w *world) {
	const n = 3
	var ids []string
	for i := range n {
		ids = append(ids, w.send(t, 2, "+99999900013", "utility", fmt.Sprint("dead-", i)))
	}
	attempts := func(id string) int {
		r, err := w.api.Get(t.Context(), id)
		check(t, err)
		return r.Attempt
	}
	for _, id := range ids {
		w.reaches(t, id, client.StateDead)
	}
	b := w.signIn(t, rig.APIKey)
	b.open("/console/dead-letters")
	b.shows("#count", fmt.Sprint(n))
	b.shows("#groups", "987654")
	b.looks("dead-letters")
	b.click("Send again")
	b.shows("#resend-title", "987654")
	b.click("Dry run")
	b.shows("#dry-run", fmt.Sprint(n))
	b.looks("resend")
	for _, id := range ids {
		if attempts(id) != 1 {
			t.Errorf("the dry run sent %s", id)
		}
	}
	b.fill("reason", "the code is temporary")
	b.submit("resend")
	b.shows("#done", fmt.Sprint(n))
	for _, id := range ids {
		poll.Until(t, "the second attempt", func() bool { return attempts(id) == 2 })
		w.reaches(t, id, client.StateDead)
	}
}

// Failed messages are grouped by Meta's code, with what to do.
func testFailed(t *testing.T, w *world) {
	id := w.send(t, 0, "+99999131026", "utility", "failed")
	w.reaches(t, id, client.StateFailed)
	b := w.signIn(t, rig.APIKey)
	b.open("/console/failed?phone_number_id=" + w.numbers[0])
	b.shows("#groups", "131026")
	b.looks("failed")
	b.click("List")
	b.shows("#messages", id)
	b.open("/console/messages/" + id)
	b.shows("#error", "code 131026")
}

// A campaign is followed from its first message to the resend of what was not delivered, with the keyboard to its page. A hold on it shows there.
func testCampaigns(t *testing.T, w *world) {
	const n = 6
	for i := range n {
		to := fmt.Sprintf("+1555050%04d", i)
		if i == 0 {
			to = "+99999131026" // Meta cannot deliver it
		}
		_, err := w.api.Send(t.Context(), client.Message{From: w.numbers[0], Class: client.ClassMarketing, Campaign: "spring", Content: client.Text(to, "Sale")})
		check(t, err)
	}
	b := w.signIn(t, rig.APIKey)
	b.open("/console/campaigns")
	b.shows("#campaigns", "spring")
	b.shows("#campaigns", fmt.Sprintf("read %d", n-1)) // the page follows by itself
	b.looks("campaigns")
	b.tabTo("the campaign", `document.activeElement.innerText === "spring"`)
	b.keys("\r")
	b.shows("#campaign-name", "spring")
	b.shows("#states", "failed 1")
	b.shows("#causes", "131026")
	b.looks("campaign")
	b.do("list the undelivered messages", chromedp.Evaluate[chromedp.Void](`document.querySelector("#undelivered a").click()`))
	b.shows("#messages", "failed")

	b.open("/console/campaigns/spring")
	b.click("Hold the campaign")
	b.fill("reason", "wrong price")
	b.submit("hold")
	b.shows("#holds", "campaign spring")
	b.open("/console/campaigns/spring")
	b.shows(".hold", "wrong price")
	b.click("Release")
	b.fill("reason", "price corrected")
	b.submit("release")
	b.open("/console/campaigns/spring")
	b.hidden(".hold", "wrong price")
	b.click("Send again")
	b.looks("campaign-resend")
	b.act("choose the number", `(e => { window.left = true; e.click(); return true })(document.querySelector("#from a"))`)
	b.fill("reason", "the recipient is back")
	b.submit("resend")
	b.shows("#done", "1 message queued again")

	b.open("/console/campaigns/spring")
	b.click("Set the rate, the cap per day and the budget")
	b.looks("campaign-set")
	b.fill("rate", "5")
	b.fill("budget", "12.50")
	b.fill("reason", "slower")
	b.submit("set")
	b.shows("#settings", "At most 5 messages per second at each number. At most 12.50 in all, 0.00 spent.")
	b.open("/console/campaigns/spring")
	b.click("Cancel the campaign")
	b.looks("campaign-cancel")
	b.fill("reason", "sold out")
	b.submit("cancel")
	b.shows("#done", "Nothing of the campaign is sent")
	b.shows("#cancelled", "sold out")
	b.click("Open the campaign")
	b.fill("reason", "new stock")
	b.submit("open")
	b.shows("#done", "Messages of the campaign are accepted")
	b.hidden("#cancelled", "sold out")
	viewer := w.signIn(t, readOnlyKey)
	viewer.open("/console/campaigns/spring")
	viewer.shows("#states", "read")
	viewer.hidden("summary", "Cancel the campaign")
	viewer.hidden("a", "Send again")
	viewer.hidden("#hold-link, #numbers a", "Hold")
}

func testRelay(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/relay")
	b.shows("h1", "Relay")
	b.looks("relay")
	b.open("/console/no-such-page")
	b.shows("h1", "Page not found")
	b.looks("not-found")
	b.forget() // the browser says that the answer is a 404
}

// A schedule is shown with its next times, and removed with a reason.
func testSchedules(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/schedules")
	b.shows("#empty", "There are no schedules")
	_, err := w.api.SetSchedule(t.Context(), "weekly-report", client.ScheduleOrder{
		ScheduleTiming: client.ScheduleTiming{At: []string{"09:00"}, Days: []string{"mon"}, TimeZone: "Europe/Berlin"},
		Request:        client.Message{From: w.numbers[0], Content: client.Text("+15550100001", "Hello")},
	})
	check(t, err)
	b.shows("#schedules", "mon at 09:00 Europe/Berlin") // by itself
	b.looks("schedules")
	b.click("Remove")
	b.shows("#remove-title", "weekly-report")
	b.fill("reason", "it has ended")
	b.submit("remove")
	b.shows("#empty", "There are no schedules")
}

// A client is added, and a number of the file gets it. A key that only reads sees both, and no form.
func testDirectory(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/directory?kind=clients")
	b.fill("id", "acme")
	b.fill("note", "contract 4711")
	b.fill("reason", "new client")
	b.submit("set")
	b.shows("#entries", "contract 4711")
	b.open("/console/directory?set=" + w.numbers[2])
	b.shows("#set-title", w.numbers[2])
	b.fill("client", "acme")
	b.fill("reason", "it is theirs")
	b.submit("set")
	b.shows("#entries", "acme")
	b.looks("directory")
	viewer := w.signIn(t, readOnlyKey)
	viewer.open("/console/directory")
	viewer.shows("#entries", "acme")
	viewer.hidden("a, button", "Change")
	viewer.hidden("button", "Add")
}

// A client that has used up its quota: its page says so, what its numbers wait for, and what it used. The operator comes to it from the list.
func testClient(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	w.order(t, "/v1/clients", `"name":"globex","weight":3,"quotas":{"per_day":5,"classes":{"marketing":{"per_month":100}}}`)
	key := w.order(t, "/v1/api-keys", `"name":"globex","client":"globex","phone_number_ids":["*"],"scopes":["messages:send"]`)
	b.open("/console/directory?set=" + w.numbers[1])
	b.fill("shared_with", "globex")
	b.fill("reason", "a campaign of theirs")
	b.submit("set")
	b.shows("#entries", "globex")
	caller := client.New(w.api.String(), key, client.WithRetryFor(0))
	send := func(n int) error {
		_, err := caller.Send(t.Context(), client.Message{From: w.numbers[1], Class: client.ClassUtility, Content: client.Text(fmt.Sprintf("+1555060%04d", n), "Hello")})
		return err
	}
	before := w.accepted(t)
	poll.Until(t, "the client may send", func() bool { return send(0) == nil }) // the producer knows its key, and that it shares the number
	for i := range 4 {
		check(t, send(i+1))
	}
	for i := range 2 {
		if p, is := errors.AsType[*client.Problem](send(i + 5)); !is || p.Code != "quota_exceeded" {
			t.Errorf("over the quota: %v", p)
		}
	}
	poll.Until(t, "Meta got them", func() bool { return w.accepted(t) >= before+5 })
	b.open("/console/directory?kind=clients")
	b.click("globex")
	b.shows("#client-name", "globex")
	b.shows(".notice", "The quota per_day is used up")
	b.shows("#quotas", "used up")
	b.shows("#numbers", w.numbers[1])
	b.shows("#keys", "globex")
	poll.Until(t, "the usage is counted", func() bool {
		b.open("/console/clients/globex")
		return get(b, "the usage", chromedp.Evaluate[bool](`document.querySelector("#usage tr:last-child td")?.innerText === "5"`))
	})
	if refused := get(b, "what the quota refused", chromedp.Evaluate[string](`document.querySelector("#quotas tbody td:nth-child(6)").innerText`)); refused != "2" {
		t.Errorf("refused %s, want 2", refused)
	}
	b.looks("client")
	b.open("/console/clients/nosuch")
	b.shows("[role=alert]", "this entry")
	b.forget() // the browser says that the answer is a 404
}

// The overview says in words what needs a person, and leads to the page of a number, with its charts.
func testOverview(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/holds")
	b.fill("phone_number_id", w.numbers[1])
	b.fill("reason", "an overview has more to show")
	b.click("Hold")
	b.shows("#holds", "more to show")
	for i := range 20 {
		w.send(t, 1, fmt.Sprintf("+1555030%04d", i), "marketing", "campaign")
	}
	if images != "" {
		w.campaign(t)
	}
	b.open("/console/")
	b.shows("#numbers", w.numbers[1])
	b.shows("#sum-held", "20")
	b.looks("overview")
	b.click(w.numbers[1])
	b.shows("#number-id", w.numbers[1])
	b.shows("#speed", "Anna holds it")
	b.until("the charts are drawn", `document.querySelectorAll(".chart canvas").length === 4`)
	b.looks("number")
	b.fill("rate", "20")
	b.fill("reason", "a slow start")
	b.click("Set the rate limit")
	b.shows("#limit", "20/s")
}

// The reports show what the archive has of the messages of the other tests.
func testReports(t *testing.T, w *world) {
	b := w.signIn(t, readOnlyKey)
	poll.Until(t, "the archive has messages", func() bool {
		b.open("/console/reports")
		return get(b, "the days", chromedp.Evaluate[bool](`!!document.querySelector("#days")`))
	})
	b.forget() // until there are tables, the answer is a 503
	b.shows("#days", time.Now().UTC().Format(time.DateOnly))
	b.looks("reports")
	b.click("30")
	b.shows("#choices", "30")
	b.shows("#days", time.Now().UTC().Format(time.DateOnly))
}
