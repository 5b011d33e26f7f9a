package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/secrets"
)

// entries stores the entries of the directory: numbers, apps, API keys and clients. Its changes write the audit log.
type entries interface {
	List(ctx context.Context) (directory.Entries, error)
	Put(ctx context.Context, e directory.Entry, given directory.Secrets, c directory.Change) (int64, error)
	RotateApp(ctx context.Context, name string, secret config.Secret, previousUntil time.Time, c directory.Change) (int64, error)
	Remove(ctx context.Context, kind directory.Kind, id string, c directory.Change) error
	RemoveNumber(ctx context.Context, id, backlog, to string, c directory.Change) (removed bool, err error)
	Export(ctx context.Context) ([]byte, error)
	Import(ctx context.Context, name string, text []byte, c directory.Change) (directory.Imported, error)
	Reencrypt(ctx context.Context, c directory.Change) (int, error)
}

// The answers of the lists.
type (
	numberList struct {
		Numbers []directory.Number `json:"numbers" doc:"The numbers that the API key may use, by phone number id."`
	}
	appList struct {
		Apps []directory.App `json:"apps" doc:"The apps, by name."`
	}
	apiKeyList struct {
		APIKeys []directory.APIKey `json:"api_keys" doc:"The API keys, by name."`
	}
	clientList struct {
		Clients []directory.Client `json:"clients" doc:"The clients, by name."`
	}
	accountList struct {
		Accounts []account `json:"accounts" doc:"The accounts that Meta's answers or webhooks named, by id."`
	}
)

// account is a WhatsApp Business Account with the numbers that are known to belong to it.
type account struct {
	ID      string   `json:"waba_id" doc:"Meta's id of the WhatsApp Business Account."`
	Numbers []string `json:"phone_number_ids" doc:"Its numbers that the API key may use."`
}

// numberRequest is the body of POST /v1/numbers.
type numberRequest struct {
	directory.Number
	AccessToken config.Secret `json:"access_token,omitempty" doc:"The access token. It cannot be read again. Without it a stored access token stays. With it token_file is not read."`
	HookSecret  config.Secret `json:"auto_reply_hook_secret,omitempty" doc:"The secret that signs the requests to the auto-reply hook. It cannot be read again. Without it a stored one stays."`
	order
}

func (r *numberRequest) asked() (directory.Entry, directory.Secrets, int64, order) {
	return r.Number, given(directory.SecretAccessToken, r.AccessToken, directory.SecretReplyHook, r.HookSecret), r.Revision, r.order
}

// appRequest is the body of POST /v1/apps.
type appRequest struct {
	directory.App
	Secret      config.Secret `json:"secret,omitempty" doc:"The app secret. It cannot be read again. Without it a stored app secret stays. To replace it without refusing webhooks, rotate it."`
	VerifyToken config.Secret `json:"verify_token,omitempty" doc:"The verify token of the webhook handshake, 16 characters or more. It cannot be read again. Without it a stored one stays."`
	order
}

func (r *appRequest) asked() (directory.Entry, directory.Secrets, int64, order) {
	return r.App, given(directory.SecretApp, r.Secret, directory.SecretVerifyToken, r.VerifyToken), r.Revision, r.order
}

// apiKeyRequest is the body of POST /v1/api-keys.
type apiKeyRequest struct {
	directory.APIKey
	order
}

func (r *apiKeyRequest) asked() (directory.Entry, directory.Secrets, int64, order) {
	return r.APIKey, nil, r.Revision, r.order
}

// clientRequest is the body of POST /v1/clients.
type clientRequest struct {
	directory.Client
	order
}

func (r *clientRequest) asked() (directory.Entry, directory.Secrets, int64, order) {
	return r.Client, nil, r.Revision, r.order
}

// given returns the secrets of a request, names and values in turn, without those that are absent.
func given(pairs ...config.Secret) directory.Secrets {
	all := directory.Secrets{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all[string(pairs[i])] = pairs[i+1]
		}
	}
	return all
}

// entryStored is the answer to a change of an entry.
type entryStored struct {
	Revision int64  `json:"revision" doc:"The new revision of the entry."`
	Key      string `json:"key,omitempty" doc:"Of an API key that Sluice made: the key itself. Only this answer has it."`
}

// removeRequest is the body of the removal of an entry.
type removeRequest struct {
	Revision *int64 `json:"revision,omitempty" doc:"The revision that you read. The removal is refused if the entry has another one. Without it any revision is removed."`
	order
}

// removeNumberRequest is the body of POST /v1/numbers/{phone_number_id}/remove.
type removeNumberRequest struct {
	Backlog string `json:"backlog,omitempty" doc:"What becomes of messages that are not final. refuse: the number is not removed. drain: they are sent, then the number is removed. move: another number of the same WhatsApp Business Account sends them, then the number is removed. cancel: they are cancelled, then the number is removed. With drain, move and cancel the number accepts no new messages. Default: refuse."`
	To      string `json:"to,omitempty" doc:"With move: phone number id of the number that takes the messages. It must belong to the same client."`
	removeRequest
}

// removeResult is the answer to a removal.
type removeResult struct {
	Removed bool `json:"removed" doc:"true: it is removed. false: workers remove the number when its last message is final."`
}

// rotateTokenRequest is the body of POST /v1/numbers/{phone_number_id}/rotate.
type rotateTokenRequest struct {
	AccessToken config.Secret `json:"access_token" doc:"The new access token. The next attempt uses it."`
	order
}

// previous is how long a secret that was replaced is accepted too.
type previous struct {
	PreviousFor string `json:"previous_for,omitempty" doc:"How long the previous secret is accepted too, for example 48h. Default: 24h."`
}

// until returns the time at which the previous secret ends.
func (p previous) until() (time.Time, httpapi.Refusal) {
	if p.PreviousFor == "" {
		p.PreviousFor = "24h"
	}
	d, refused := span("previous_for", p.PreviousFor)
	return time.Now().Add(d).UTC().Truncate(time.Second), refused
}

// rotateAppRequest is the body of POST /v1/apps/{name}/rotate.
type rotateAppRequest struct {
	Secret config.Secret `json:"secret" doc:"The new app secret."`
	previous
	order
}

// rotateKeyRequest is the body of POST /v1/api-keys/{name}/rotate.
type rotateKeyRequest struct {
	SHA256 string `json:"sha256,omitempty" doc:"SHA-256 of the new key in hex. Without it Sluice makes the key, and the answer has it."`
	previous
	order
}

// directoryDocument is the answer of GET /v1/directory/export.
type directoryDocument struct {
	Document string `json:"document" doc:"The stored entries as YAML, in the form of the configuration file, without secrets."`
}

// importRequest is the body of POST /v1/directory/import.
type importRequest struct {
	Document string `json:"document" doc:"YAML in the form of the configuration file, with numbers, apps, api_keys and clients. Stored entries that are not in it stay, and so do stored secrets."`
	order
}

// reencryptResult is the answer of POST /v1/directory/reencrypt.
type reencryptResult struct {
	Secrets int `json:"secrets" doc:"How many secrets there are, with the entries of suppression lists and the schedules that had another key. All are encrypted with the first secrets key now."`
}

// maxImport is the maximum size of the body of an import, in bytes.
const maxImport = 4 << 20

// directoryVerbs returns the values of the label action of changes of the directory.
func directoryVerbs() []string {
	all := []string{"number-" + directory.BacklogDrain, "number-" + directory.BacklogMove, "number-" + directory.BacklogCancel, "import", message.VerbReencrypt}
	for _, kind := range []directory.Kind{directory.KindNumber, directory.KindApp, directory.KindKey, directory.KindClient} {
		all = append(all, string(kind)+"-set", string(kind)+"-remove")
	}
	return all
}

func (o order) change(revision int64, key httpapi.Key) directory.Change {
	return directory.Change{Revision: revision, Actor: o.Actor, Key: key.Name, Reason: o.Reason}
}

// refusedEntry returns the refusal for an error of the directory.
func (c *Console) refusedEntry(operation string, err error) httpapi.Refusal {
	if invalid, ok := errors.AsType[*directory.InvalidError](err); ok {
		var refused httpapi.Refusal
		for _, m := range invalid.Mistakes[:min(len(invalid.Mistakes), 20)] {
			p := httpapi.Problem(m.Place, "entry_invalid")
			p.Detail = m.Error() + "."
			refused = append(refused, p)
		}
		return refused
	}
	if _, ok := errors.AsType[*directory.ConflictError](err); ok {
		return httpapi.Refuse("entry_changed")
	}
	if waits, ok := errors.AsType[*directory.BacklogError](err); ok {
		p := httpapi.Problem("backlog", "number_has_messages")
		p.Detail = waits.Error() + "."
		return httpapi.Refusal{p}
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return httpapi.Refuse("entry_not_found")
	case errors.Is(err, secrets.ErrNoKey):
		return httpapi.Refuse("secrets_key_missing")
	}
	return c.unavailable(operation, err)
}

// listEntries returns a handler of a list. of returns what a key may see of all entries; id selects one, unless it is empty.
func (c *Console) listEntries(of func(all directory.Entries, key httpapi.Key, id string) any, narrow bool, param string) http.HandlerFunc {
	return c.handle(func(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
		if !narrow && !key.CoversAll() {
			return nil, httpapi.Refuse("all_numbers_required")
		}
		all, err := c.o.Directory.List(ctx)
		if err != nil {
			return nil, c.unavailable("list directory", err)
		}
		return of(all, key, r.URL.Query().Get(param)), nil
	})
}

// some returns the entries that f selects, and of these the one with an id unless it is empty.
func some[E directory.Entry](all []E, id string, f func(E) bool) []E {
	return slices.DeleteFunc(slices.Concat([]E{}, all), func(e E) bool { return id != "" && e.ID() != id || f != nil && !f(e) })
}

// find returns the entry with an id.
func find[E directory.Entry](all []E, id string) (E, bool) {
	i := slices.IndexFunc(all, func(e E) bool { return e.ID() == id })
	if i < 0 {
		return *new(E), false
	}
	return all[i], true
}

// admit refuses an order that is not signed, or whose key is not for all numbers.
func (o order) admit(key httpapi.Key) httpapi.Refusal {
	if refused := o.signed(); refused != nil {
		return refused
	}
	if !key.CoversAll() {
		return httpapi.Refuse("all_numbers_required")
	}
	return nil
}

// putEntry returns a handler that stores the entry of a request of type R.
func putEntry[R any, P interface {
	*R
	asked() (directory.Entry, directory.Secrets, int64, order)
}](c *Console) http.HandlerFunc {
	return c.handle(func(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
		var ask R
		if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
			return nil, refused
		}
		e, given, revision, o := P(&ask).asked()
		if refused := o.admit(key); refused != nil {
			return nil, refused
		}
		return c.put(ctx, e, given, o.change(revision, key), key)
	})
}

// put stores an entry. It makes the secret of a new API key that has none.
func (c *Console) put(ctx context.Context, e directory.Entry, given directory.Secrets, change directory.Change, key httpapi.Key) (any, httpapi.Refusal) {
	var made string
	if k, ok := e.(directory.APIKey); ok {
		if k.SHA256 == "" && change.Revision == 0 {
			made = httpapi.NewToken()
			k.SHA256 = httpapi.HashToken(made)
		}
		if k.Name == key.Name && (k.Revoked || !slices.Contains(k.Scopes, httpapi.ScopeAdmin) || !slices.Contains(k.Numbers, httpapi.AllNumbers)) {
			return nil, httpapi.Refuse("api_key_in_use")
		}
		e = k
	}
	revision, err := c.o.Directory.Put(ctx, e, given, change)
	if err != nil {
		return nil, c.refusedEntry("store entry", err)
	}
	c.orders.WithLabelValues(string(e.Kind()) + "-set").Inc()
	return entryStored{revision, made}, nil
}

// removeEntry returns a handler that removes an app, an API key or a client.
func (c *Console) removeEntry(kind directory.Kind) http.HandlerFunc {
	return c.handle(func(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
		var ask removeRequest
		refused := httpapi.ReadJSON(w, r, &ask)
		if refused == nil {
			refused = ask.admit(key)
		}
		name := r.PathValue("name")
		if refused == nil && kind == directory.KindKey && name == key.Name {
			refused = httpapi.Refuse("api_key_in_use")
		}
		if refused != nil {
			return nil, refused
		}
		if err := c.o.Directory.Remove(ctx, kind, name, ask.change(ask.revision(), key)); err != nil {
			return nil, c.refusedEntry("remove entry", err)
		}
		c.orders.WithLabelValues(string(kind) + "-remove").Inc()
		return removeResult{true}, nil
	})
}

func (r removeRequest) revision() int64 {
	if r.Revision == nil {
		return directory.AnyRevision
	}
	return *r.Revision
}

func (c *Console) removeNumber(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask removeNumberRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused == nil && ask.Backlog != "" && !slices.Contains(directory.Backlogs(), ask.Backlog) {
		refused = httpapi.RefuseAt("backlog", "backlog_unknown")
	}
	if refused != nil {
		return nil, refused
	}
	removed, err := c.o.Directory.RemoveNumber(ctx, r.PathValue("phone_number_id"), ask.Backlog, ask.To, ask.change(ask.revision(), key))
	if err != nil {
		return nil, c.refusedEntry("remove number", err)
	}
	verb := "number-remove"
	if !removed {
		verb = "number-" + ask.Backlog
	}
	c.orders.WithLabelValues(verb).Inc()
	return removeResult{removed}, nil
}

func (c *Console) rotateToken(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask rotateTokenRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused == nil && ask.AccessToken == "" {
		refused = httpapi.RefuseAt("access_token", "secret_missing")
	}
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Directory.List(ctx)
	if err != nil {
		return nil, c.unavailable("list directory", err)
	}
	n, ok := find(all.Numbers, r.PathValue("phone_number_id"))
	if !ok {
		return nil, httpapi.Refuse("entry_not_found")
	}
	return c.put(ctx, n, given(directory.SecretAccessToken, ask.AccessToken), ask.change(n.Revision, key), key)
}

func (c *Console) rotateApp(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask rotateAppRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused == nil && ask.Secret == "" {
		refused = httpapi.RefuseAt("secret", "secret_missing")
	}
	if refused != nil {
		return nil, refused
	}
	until, refused := ask.until()
	if refused != nil {
		return nil, refused
	}
	revision, err := c.o.Directory.RotateApp(ctx, r.PathValue("name"), ask.Secret, until, ask.change(directory.AnyRevision, key))
	if err != nil {
		return nil, c.refusedEntry("rotate app secret", err)
	}
	c.orders.WithLabelValues("app-set").Inc()
	return entryStored{Revision: revision}, nil
}

func (c *Console) rotateKey(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask rotateKeyRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.admit(key)
	}
	if refused != nil {
		return nil, refused
	}
	until, refused := ask.until()
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Directory.List(ctx)
	if err != nil {
		return nil, c.unavailable("list directory", err)
	}
	k, ok := find(all.APIKeys, r.PathValue("name"))
	if !ok {
		return nil, httpapi.Refuse("entry_not_found")
	}
	var made string
	if k.PreviousSHA256, k.PreviousExpires, k.SHA256 = k.SHA256, until, ask.SHA256; k.SHA256 == "" {
		made = httpapi.NewToken()
		k.SHA256 = httpapi.HashToken(made)
	}
	stored, refused := c.put(ctx, k, nil, ask.change(k.Revision, key), key)
	if refused != nil {
		return nil, refused
	}
	return entryStored{stored.(entryStored).Revision, made}, nil
}
