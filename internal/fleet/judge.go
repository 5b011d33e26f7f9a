package fleet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/observed"
)

// Attention is how much a number needs a person.
type Attention string

// The values of Attention, the most urgent first.
const (
	Act  Attention = "act"  // a person must act now
	Look Attention = "look" // a person should look at it today
	None Attention = ""
)

// Rank returns the place of an attention: 0 for the most urgent.
func (a Attention) Rank() int { return slices.Index([]Attention{Act, Look, None}, a) }

// stalled is how long a number with waiting messages may end no attempt before a person must act.
const stalled = time.Minute

// longHold is how long a hold by Sluice lasts before a person must act: as for the alert SluiceNumberHeld.
const longHold = time.Minute

// manyAwaiting is how many messages of a number may await a status before a person must act: as for the alert
// SluiceMessagesAwaitingStatus.
const manyAwaiting = 100

// ageBudgets are how long the oldest message of a class may wait: those of the alert SluiceQueueOld in
// deploy/prometheus/rules.yml.
var ageBudgets = map[message.Class]time.Duration{
	message.Authentication: 30 * time.Second,
	message.Service:        time.Minute,
	message.Utility:        15 * time.Minute,
	message.Marketing:      12 * time.Hour,
}

// An access token that expires so soon needs a person now, or today.
const (
	tokenAct  = 3 * 24 * time.Hour
	tokenLook = 14 * 24 * time.Hour
)

// tokenLeft returns how long the access token of the number is valid: 0 if it is not valid, and very long if it does not expire
// or nothing is known of it.
func (n Number) tokenLeft(now time.Time) time.Duration {
	switch t := n.Meta.Token; {
	case t == nil || t.Valid && t.Expires.IsZero():
		return math.MaxInt64
	case !t.Valid:
		return 0
	default:
		return max(0, t.Expires.Sub(now))
	}
}

// tokenWhy says what a person must do about an access token.
func tokenWhy(t *observed.Token, now time.Time) string {
	if !t.Valid || !t.Expires.After(now) {
		return "Its access token is not valid. Write a new one into its token file."
	}
	return fmt.Sprintf("Its access token expires on %s UTC. Write a new one into its token file.", t.Expires.UTC().Format("2006-01-02 15:04"))
}

// attention returns how much a number needs a person, and why: the most urgent reason. idle is for how long it has
// ended no attempt.
func attention(n Number, idle time.Duration, now time.Time) (Attention, string) {
	for _, h := range n.Holds {
		if strings.HasPrefix(h.Actor, "sluice") && h.Whole() && now.Sub(h.Since) >= longHold {
			return Act, fmt.Sprintf("Sluice holds it, because %s.%s", quoted(h.Reason), codeOf(h))
		}
	}
	sending := !n.HeldAll && !n.PauseUntil.After(now)
	for _, c := range n.Classes {
		if c.Class != message.Marketing && sending && old(c) { // the alert for marketing is a ticket
			return Act, tooOld(c)
		}
	}
	switch {
	case sending && n.Waiting > n.Held+n.Slowed && n.Active == 0 && idle >= stalled:
		return Act, "Messages wait, and no attempt has ended for a minute. Check that workers run."
	case n.tokenLeft(now) < tokenAct:
		return Act, tokenWhy(n.Meta.Token, now)
	case n.Awaiting > manyAwaiting:
		return Act, awaiting(n)
	case n.Parked > 0:
		return Look, fmt.Sprintf("%s for an operator's decision.", count(n.Parked, "message waits", "messages wait"))
	}
	for _, c := range n.Classes {
		if c.Paused {
			return Look, fmt.Sprintf("The queue of class %s is paused in asynq.", c.Class)
		}
		if sending && old(c) {
			return Look, tooOld(c)
		}
	}
	for _, h := range n.Holds {
		if h.Whole() || h.Messages != nil && *h.Messages > 0 {
			return Look, fmt.Sprintf("Held (%s): %s.%s", h.Target(), quoted(h.Reason), codeOf(h))
		}
	}
	switch {
	case n.Portfolio != nil && 10*n.Portfolio.Used >= 9*n.Portfolio.Limit:
		return Look, fmt.Sprintf("%d of the %d people are counted that Meta lets its portfolio write to first in 24 hours.", n.Portfolio.Used, n.Portfolio.Limit)
	case n.tokenLeft(now) < tokenLook:
		return Look, tokenWhy(n.Meta.Token, now)
	case n.Meta.Profile != nil && n.Meta.Profile.Quality == "RED":
		return Look, "Meta rates its quality RED, because recipients block or report it. Send fewer messages that they do not want."
	case n.Dead > 0:
		return Look, fmt.Sprintf("%s.", count(n.Dead, "dead letter", "dead letters"))
	case n.Rate < n.Limit*0.9 && n.RampUntil.IsZero() && n.Waiting > 0:
		return Look, fmt.Sprintf("It sends below its rate limit, because Meta refused messages at %d per second.", n.RefusedAt)
	case n.Awaiting > 0:
		return Look, awaiting(n)
	}
	return None, ""
}

// old reports whether the oldest message of a class waits for longer than its budget.
func old(c WaitingClass) bool { return c.Oldest > ageBudgets[c.Class].Seconds() }

func tooOld(c WaitingClass) string {
	return fmt.Sprintf("The oldest %s message has waited for more than %s.", c.Class, ageBudgets[c.Class])
}

func awaiting(n Number) string {
	return fmt.Sprintf("%s no status from Meta for 15 minutes.", count(n.Awaiting, "message has", "messages have"))
}

// Sort sorts numbers by what needs attention: the most urgent first, then those with the most waiting messages.
func Sort(all []Number) {
	slices.SortFunc(all, func(a, b Number) int {
		return cmp.Or(cmp.Compare(a.Attention.Rank(), b.Attention.Rank()), cmp.Compare(b.Waiting+b.Later, a.Waiting+a.Later), cmp.Compare(a.ID, b.ID))
	})
}

// Headline says in words whether any of the numbers needs a person now.
func Headline(all []Number) string {
	sorted := slices.Clone(all)
	Sort(sorted)
	acts, looks := 0, 0
	for _, n := range sorted {
		switch n.Attention {
		case Act:
			acts++
		case Look:
			looks++
		}
	}
	more := ""
	if looks > 0 {
		more = fmt.Sprintf(" Look at %s today.", count(looks, "number", "numbers"))
	}
	if slices.ContainsFunc(all, func(n Number) bool { return n.Partial }) {
		more += " A list is too long to count its messages by number: look at In doubt and Dead letters too."
	}
	if acts == 0 {
		return "No number needs a person now." + more
	}
	return fmt.Sprintf("%s a person now. Begin with %s: %s%s", count(acts, "number needs", "numbers need"), sorted[0].ID, sorted[0].Why, more)
}

// speed says in one sentence what decides how fast a number sends now.
func speed(n Number, now time.Time) string {
	paused := slices.IndexFunc(n.Classes, func(c WaitingClass) bool { return c.Paused && c.Waiting > 0 })
	switch {
	case n.HeldAll:
		h := n.Holds[slices.IndexFunc(n.Holds, func(h NumberHold) bool { return h.Whole() })]
		return fmt.Sprintf("It sends nothing, because %s holds it: %s.", h.Actor, quoted(h.Reason))
	case n.PauseUntil.After(now):
		return fmt.Sprintf("It pauses for %s, because Meta refused messages.", n.PauseUntil.Sub(now).Round(time.Second))
	case n.Waiting == n.Held && n.Held > 0:
		return fmt.Sprintf("Holds on templates or tags keep all %s.", count(n.Held, "waiting message", "waiting messages"))
	case paused >= 0:
		return fmt.Sprintf("The queue of class %s is paused in asynq.", n.Classes[paused].Class)
	case n.Portfolio != nil && n.Portfolio.Waiting > 0 && n.Waiting == 0 && n.Active == 0:
		return fmt.Sprintf("%s for the messaging limit of the portfolio: %d of %d people are counted in 24 hours. The last of them leaves in about %s.",
			count(n.Portfolio.Waiting, "message waits", "messages wait"), n.Portfolio.Used, n.Portfolio.Limit, time.Duration(n.Portfolio.ETA*float64(time.Second)).Round(time.Second))
	case n.Waiting == 0 && n.Active == 0 && n.Elsewhere > 0:
		return fmt.Sprintf("Messages to %s wait because another app owns the conversations. %s for their time in all.", count(n.Elsewhere, "person", "people"), count(n.Later, "message waits", "messages wait"))
	case n.Waiting == 0 && n.Active == 0 && n.Later > 0:
		return fmt.Sprintf("%s for their time: scheduled messages, retries, or recipients at Meta's pair limit.", count(n.Later, "message waits", "messages wait"))
	case n.Waiting == 0 && n.Active == 0:
		return "No message waits."
	case n.Attempts == 0 && n.Active == 0 && n.Waiting <= n.Held+n.Slowed:
		return fmt.Sprintf("%s for the rates and the caps per day of their campaigns: sluice campaigns show.", count(n.Slowed, "message waits", "messages wait"))
	case n.Attempts == 0 && n.Active == 0:
		return "Messages wait, and no worker has fetched any. Check that workers run and have this number in their configuration."
	case n.RampUntil.After(now):
		return fmt.Sprintf("It sends %.0f messages per second at most, and this increases to %d until %s UTC, as an operator ordered.", n.Rate, n.SetRate, n.RampUntil.UTC().Format("2006-01-02 15:04"))
	case n.Rate < n.Limit:
		return fmt.Sprintf("It sends %.0f of %.0f messages per second at most, because Meta refused messages at %d per second. The rate increases step by step.%s", n.Rate, n.Limit, n.RefusedAt, throttled(n))
	case n.Attempts >= n.Rate*0.8:
		return fmt.Sprintf("It sends at its rate limit of %.0f messages per second.%s", n.Limit, throttled(n))
	}
	return fmt.Sprintf("It may send %.0f messages per second, and sends all that is due.%s", n.Rate, throttled(n))
}

// throttled says, as one more sentence, how many messages Meta refuses as too fast; empty: none.
func throttled(n Number) string {
	if n.Throttled == 0 {
		return ""
	}
	return fmt.Sprintf(" Meta refused %.1f messages per second in the last minute, because the number was too fast.", n.Throttled)
}

// count writes a number of things.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// quoted returns a reason as a part of a sentence.
func quoted(reason string) string {
	return strings.TrimRight(reason, ".")
}

// codeOf names Meta's error code that caused a hold.
func codeOf(h NumberHold) string {
	if h.Code == 0 {
		return ""
	}
	return fmt.Sprintf(" Meta's code is %d: docs/errors.md says what to do.", h.Code)
}
