package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

func (c *Console) listAccounts(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	of, err := c.o.Accounts(ctx)
	if err != nil {
		return nil, c.unavailable("list accounts", err)
	}
	numbers := map[string][]string{}
	for number, id := range of {
		if key.Covers(number) && c.o.Numbers(number) {
			numbers[id] = append(numbers[id], number)
		}
	}
	shown := accountList{Accounts: []account{}}
	for id, all := range numbers {
		slices.Sort(all)
		shown.Accounts = append(shown.Accounts, account{id, all})
	}
	slices.SortFunc(shown.Accounts, func(a, b account) int { return cmp.Compare(a.ID, b.ID) })
	return shown, nil
}

func (c *Console) exportDirectory(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	if !key.CoversAll() {
		return nil, httpapi.Refuse("all_numbers_required")
	}
	text, err := c.o.Directory.Export(ctx)
	if err != nil {
		return nil, c.unavailable("export directory", err)
	}
	return directoryDocument{string(text)}, nil
}

func (c *Console) importDirectory(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask importRequest
	refused := httpapi.ReadLargeJSON(w, r, maxImport, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused != nil {
		return nil, refused
	}
	done, err := c.o.Directory.Import(ctx, "document", []byte(ask.Document), ask.change(0, key))
	if err != nil {
		return nil, c.refusedEntry("import directory", err)
	}
	c.orders.WithLabelValues("import").Inc()
	return done, nil
}

func (c *Console) reencrypt(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask orderOnly
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused != nil {
		return nil, refused
	}
	n, err := c.o.Directory.Reencrypt(ctx, ask.change(0, key))
	if err != nil {
		return nil, c.refusedEntry("encrypt secrets again", err)
	}
	c.orders.WithLabelValues(message.VerbReencrypt).Inc()
	return reencryptResult{n}, nil
}
