// Package people knows which phone numbers and business-scoped user ids are one person, by what Meta reports together. It stores
// keyed hashes only, and only what cannot be computed: a phone number that Meta never reported with another name costs nothing.
//
// User ids belong to a business portfolio. So a scope limits what is joined: the portfolio of the number. While the portfolio
// is not known, the scope is the WhatsApp Business Account, and while that is not known either, the number alone. When a scope
// becomes known, its people are learned again from the next reports.
package people

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Retention is how long Sluice remembers that two names are one person, after Meta reported them together for the last time.
const Retention = 400 * 24 * time.Hour

// ID stands for a person in a scope: the keyed hash of one of the person's names. It stays the same when the person gets
// another phone number or user id. It changes once, for a name that was used before Meta reported it with another name. The
// same phone number has the same ID in each scope, so a list of several portfolios must name the portfolio too. The zero value
// stands for no person.
type ID [8]byte

// Identity is the keyed hash of a phone number or user id. The zero value is none.
type Identity struct {
	Hash ID
	User bool // it is a business-scoped user id
}

// owners know the accounts of numbers and the portfolios of accounts.
type owners interface {
	All(ctx context.Context) (map[string]string, error)
	Portfolios(ctx context.Context) (map[string]string, error)
}

// Options configure People. All are required, except Alone, Now and Log.
type Options struct {
	Hash   func(text string) string // makes keyed hashes of 8 bytes, as records have them; nil: recipients have no identity
	Alone  bool                     // no names are learned: every identity is a person of its own
	Shards message.Shards
	Owners owners
	Now    func() time.Time // nil: the clock of this machine
	Log    *slog.Logger     // nil: no logs
}

// People learns and looks up people. It is safe for concurrent use.
type People struct {
	db  *store.DB
	o   Options
	log *slog.Logger

	learned func(ctx context.Context, all []message.Identities) error

	parts  store.Script
	scopes atomic.Pointer[scopes]
	filter atomic.Pointer[filter]

	mu      sync.Mutex
	seed    maphash.Seed
	seen    [2]map[uint64]struct{} // reports that are stored, the newer ones first
	rotated time.Time              // when the older ones were dropped
	noted   []message.Identities   // what Run will learn
}

// New returns the people of an installation. Call Run, so that it knows the scopes, and the phone numbers that need a look-up.
func New(db *store.DB, o Options) *People {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &People{db: db, o: o, log: o.Log, parts: db.Script(walkLua), seed: maphash.MakeSeed()}
	p.scopes.Store(&scopes{})
	return p
}

// OnLearned lets f be called with the names that this process learns, after they are stored, and without those that it has learned before.
// If f returns an error, so does Learn, and f is called with them again. Call it before Run and Learn.
func (p *People) OnLearned(f func(ctx context.Context, all []message.Identities) error) {
	p.learned = f
}

// On reports whether people are known at all: without a secrets key or an index of recipients they are not.
func (p *People) On() bool { return p.o.Hash != nil && !p.o.Alone }

// Identity returns the identity of a recipient: a phone number with or without a plus, or a user id. It is zero without a
// recipient or without a secrets key.
func (p *People) Identity(recipient string) Identity {
	if recipient = strings.TrimPrefix(recipient, "+"); recipient == "" || p.o.Hash == nil {
		return Identity{}
	}
	return Identity{ID([]byte(p.o.Hash(recipient))), message.IsUserID(recipient)}
}

// Query asks for the person that has an identity, for a number that sends.
type Query struct {
	Number   string
	Identity Identity
}

// Lookup returns the person of each query, in one round trip at most: user ids are looked up, and of phone numbers only those
// that Meta reported as changed or written in another way. A query without an identity gets the zero ID. After an error, each
// ID is that of the identity alone.
func (p *People) Lookup(ctx context.Context, queries []Query) ([]ID, error) {
	ids := make([]ID, len(queries))
	var asked []entryKey
	var of []int
	filter := p.filter.Load()
	for i, q := range queries {
		ids[i] = q.Identity.Hash
		if !p.On() || q.Identity.Hash == (ID{}) || !q.Identity.User && !filter.may(q.Identity.Hash) {
			continue
		}
		asked, of = append(asked, entryKey{q.Identity.Hash, p.scope(q.Number, "")}), append(of, i)
	}
	found, err := p.read(ctx, asked)
	for i, e := range found {
		if e.known() {
			ids[of[i]] = e.person
		}
	}
	return ids, err
}

// scope identifies the scope of a number, whose account may be known.
type scope [4]byte

// scopes are the accounts of numbers and the portfolios of accounts.
type scopes struct{ accounts, portfolios map[string]string }

func (p *People) scope(number, account string) scope {
	known := p.scopes.Load()
	if of := known.accounts[number]; of != "" {
		account = of
	}
	name := "number " + number
	if portfolio := known.portfolios[account]; portfolio != "" {
		name = "portfolio " + portfolio
	} else if account != "" {
		name = "account " + account
	}
	sum := sha256.Sum256([]byte(name))
	return scope(sum[:4])
}
