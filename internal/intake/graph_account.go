package intake

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// covered returns the configured numbers that a key covers.
func (in *Intake) covered(key httpapi.Key) []string {
	if key.CoversAll() {
		return in.o.All()
	}
	return slices.DeleteFunc(slices.Clone(key.Numbers), func(n string) bool { return !in.o.Numbers(n) })
}

// accountNumber returns a number of an account that the key covers: its token is used for a call of the account. If whole is
// true, the key must cover all its configured numbers, because the call concerns them all.
func (in *Intake) accountNumber(r *http.Request, key httpapi.Key, id string, whole bool) (number string, refused refusal) {
	if !message.IsNumberID(id) || in.o.Graph == nil || in.o.Accounts == nil {
		return "", graphRefusal("account_not_found")
	}
	of, refused := in.accountsOf(r.Context())
	if refused != nil {
		return "", refused
	}
	others := false
	for _, n := range in.o.All() {
		switch {
		case of[n] != id:
		case !key.Covers(n):
			others = true
		case number == "":
			number = n
		}
	}
	switch {
	case number == "":
		return "", graphRefusal("account_not_found")
	case whole && others:
		return "", graphRefusal("account_not_covered")
	}
	return number, nil
}

// checkFields refuses a GET of an account whose fields are edges that the key may not read.
func (in *Intake) checkFields(r *http.Request, key httpapi.Key, id string) (refused refusal) {
	fields := strings.Join(r.URL.Query()["fields"], ",")
	for _, name := range strings.FieldsFunc(fields, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		e, known := graphEdges[name]
		switch {
		case refused != nil:
		case known && e.of == ofAccount && e.read == "":
			refused = graphRefusal("path_not_forwarded")
		case slices.Contains(ofAllNumbers, name):
			_, refused = in.accountNumber(r, key, id, true)
		}
	}
	return refused
}

// accountsOf returns the accounts of the configured numbers, by number.
func (in *Intake) accountsOf(ctx context.Context) (map[string]string, refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	of, err := in.o.Accounts.Accounts(ctx)
	if err != nil {
		in.o.Log.Error("cannot read the accounts of numbers", "err", err)
		return nil, refuse("store_unavailable")
	}
	return of, nil
}

// ownerOf returns a number of the account that a flow or a template belongs to, if the key covers the account. found is
// false if it is neither of an account of the key.
func (in *Intake) ownerOf(r *http.Request, key httpapi.Key, id string, write bool) (number string, found bool, refused refusal) {
	if !message.IsNumberID(id) || in.o.Graph == nil || in.o.Accounts == nil || in.o.Numbers(id) {
		return "", false, nil
	}
	if known := in.objects.of(id); known != "" {
		if number, refused = in.accountNumber(r, key, known, write); refused == nil {
			return number, true, nil
		}
	}
	of, refused := in.accountsOf(r.Context())
	if refused != nil {
		return "", false, refused
	}
	r, cancel := within(r, passTime)
	defer cancel()
	asked := map[string]bool{}
	for _, n := range in.covered(key) {
		account := of[n]
		if account == "" || asked[account] || len(asked) == maxAsked {
			continue
		}
		asked[account] = true
		belongs, err := in.o.Graph.Belongs(r.Context(), n, account, id)
		if err != nil {
			in.o.Log.Warn("cannot read the account of an object from Meta", "phone_number_id", n, "err", err)
			return "", false, graphRefusal("meta_unavailable")
		}
		if belongs {
			in.objects.add(id, account)
			number, refused = in.accountNumber(r, key, account, write)
			return number, refused == nil, refused
		}
	}
	return "", false, nil
}
