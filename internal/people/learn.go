package people

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"time"

	"sluice/internal/message"
)

const (
	// seenMost is how many reports a process remembers in each of two generations, so that a repeated one needs no command.
	seenMost = 200_000
	// seenFor is how long it remembers them at most: then their entries get a new day.
	seenFor = 24 * time.Hour
)

// report is a report with hashes for names.
type report struct {
	names  []ID // those of the person: user id, parent user id, phone numbers
	phones int  // how many of the last ones are phone numbers
	former []ID // those that the person had before, in the same order
	left   ID   // the phone number that the person left; zero: none
	fresh  ID   // the person that has that number from now on
	scope  scope
	sum    uint64 // of the plain text, for the memory of a process
}

// Learn stores which names are one person, in two round trips at most, and without a command if it stored the same reports
// before. After a change, the new names continue the person; a phone number that the person left belongs to another person
// from then on. A repeated report changes nothing.
func (p *People) Learn(ctx context.Context, all []message.Identities) error {
	if !p.On() {
		return nil
	}
	p.rotate()
	var reports []report
	var fresh []message.Identities
	var keys []entryKey
	for _, one := range all {
		r, ok := p.report(one)
		if !ok {
			continue
		}
		reports, fresh = append(reports, r), append(fresh, one)
		for _, h := range append(r.names[:len(r.names):len(r.names)], r.former...) {
			keys = append(keys, entryKey{h, r.scope})
		}
	}
	if len(reports) == 0 {
		return nil
	}
	found, err := p.read(ctx, keys)
	if err != nil {
		return err
	}
	t := table{before: map[entryKey]entry{}, changed: map[entryKey]entry{}, phones: map[entryKey]bool{}, day: dayOf(p.o.Now())}
	for i, k := range keys {
		t.before[k] = found[i]
	}
	for i := range reports {
		t.apply(&reports[i])
	}
	if err := p.write(ctx, t.changed, t.phones); err != nil {
		return err
	}
	if len(t.phones) > 0 {
		p.refreshFilterSoon(ctx)
	}
	if p.learned != nil {
		if err := p.learned(ctx, fresh); err != nil {
			return err
		}
	}
	p.remember(reports)
	return nil
}

// refreshFilterSoon lets this process know the phone numbers that it has just stored. Others know them within refreshEvery.
func (p *People) refreshFilterSoon(ctx context.Context) {
	if err := p.refreshFilter(ctx); err != nil && ctx.Err() == nil {
		p.log.Warn("cannot read which phone numbers changed, will retry", "err", err)
	}
}

// Note lets Run learn a report. It does not block. It forgets the report if too many wait.
func (p *People) Note(one message.Identities) {
	if !p.On() || one.User == "" && one.Parent == "" && !differ(one.Phones) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.noted) < notedMost {
		p.noted = append(p.noted, one)
	}
}

// differ reports whether a list has two different texts.
func differ(all []string) bool {
	for _, s := range all {
		if s != all[0] {
			return true
		}
	}
	return false
}

// report returns a report with hashes for names. It is false if there is nothing to learn from it, or it is stored already.
func (p *People) report(one message.Identities) (report, bool) {
	change := one.FormerUser != "" || one.FormerPhone != ""
	if one.User == "" && one.Parent == "" && !change && !differ(one.Phones) {
		return report{}, false // a phone number alone needs no entry
	}
	r := report{scope: p.scope(one.Number, one.Account)}
	r.sum = maphash.String(p.seed, string(r.scope[:])+strings.Join(append([]string{one.User, one.Parent, one.FormerUser, one.FormerPhone, one.Change}, one.Phones...), "\x00"))
	p.mu.Lock()
	_, newer := p.seen[0][r.sum]
	_, older := p.seen[1][r.sum]
	p.mu.Unlock()
	if newer || older {
		return report{}, false
	}
	add := func(to *[]ID, name string) (added bool) {
		if name == "" {
			return false
		}
		*to = append(*to, p.Identity(name).Hash)
		return true
	}
	add(&r.names, one.User)
	add(&r.names, one.Parent)
	for _, phone := range one.Phones {
		if add(&r.names, phone) {
			r.phones++
		}
	}
	add(&r.former, one.FormerUser)
	if add(&r.former, one.FormerPhone) {
		r.left = r.former[len(r.former)-1]
		sum := sha256.Sum256([]byte("left\x00" + string(r.left[:]) + one.Change))
		r.fresh = ID(sum[:8])
	}
	return r, len(r.names) > 0
}

// remember remembers that reports are stored.
func (p *People) remember(reports []report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range reports {
		p.seen[0][r.sum] = struct{}{}
	}
}

// rotate drops the older generation of remembered reports when the newer one is full or old.
func (p *People) rotate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	old := now.Sub(p.rotated)
	if old < seenFor && len(p.seen[0]) < seenMost {
		return
	}
	p.seen[0], p.seen[1], p.rotated = map[uint64]struct{}{}, p.seen[0], now
	if old >= 2*seenFor {
		p.seen[1] = nil
	}
}

// table has the entries that some reports are about.
type table struct {
	before, changed map[entryKey]entry
	phones          map[entryKey]bool // the changed ones of phone numbers
	day             uint16
}

func (t *table) get(k entryKey) entry {
	if e, ok := t.changed[k]; ok {
		return e
	}
	return t.before[k]
}

// set lets a name belong to a person. A phone number that is the person itself has no entry, unless it had one.
func (t *table) set(h ID, of scope, person ID, phone bool) {
	k := entryKey{h, of}
	e := t.get(k)
	if e.person == person && t.day-e.day < refreshAfter || !e.known() && phone && h == person {
		return
	}
	t.changed[k] = entry{person, t.day}
	if phone && e.person != person {
		t.phones[k] = true
	}
}

// apply applies a report. The person is that of the first name with an entry, because user ids name persons and phone numbers
// change hands; else the phone number; else the user id.
func (t *table) apply(r *report) {
	if r.left != (ID{}) && t.get(entryKey{r.left, r.scope}).person == r.fresh {
		return // it is applied
	}
	names, phones := r.names, r.phones
	if len(r.former) > 0 { // the new names have entries only if a report of them came first
		names, phones = r.former, 0
		if r.left != (ID{}) {
			phones = 1
		}
	}
	person := names[0]
	if phones > 0 {
		person = names[len(names)-phones]
	}
	for _, h := range names {
		if e := t.get(entryKey{h, r.scope}); e.known() {
			person = e.person
			break
		}
	}
	for i, h := range r.names {
		t.set(h, r.scope, person, i >= len(r.names)-r.phones)
	}
	for _, h := range r.former {
		if h == r.left {
			t.set(h, r.scope, r.fresh, true)
		} else {
			t.set(h, r.scope, person, false)
		}
	}
}
