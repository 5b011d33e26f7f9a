package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/holds"
	"sluice/internal/store"
	"sluice/internal/templates"
)

// templatesNamed is how many templates of a status a finding names.
const templatesNamed = 5

// templates checks the stored templates of all accounts. It asks Meta nothing.
func (v *visit) templates(ctx context.Context, db *store.DB) {
	catalogue := templates.NewCatalogue(templates.NewStore(db), holds.NewAccounts(db), nil)
	if err := catalogue.Load(ctx); err != nil {
		v.add("templates", "", refused(err))
		return
	}
	good := true
	for _, a := range catalogue.Accounts() {
		if a.Sync.Fails > 0 {
			good = false
			v.add("templates", a.ID, found(Warn, "the last read from Meta failed: "+a.Sync.Error, "correct what the lines about the token and the account say. Until then messages of its templates may pass unchecked"))
		}
		unsendable := map[string][]string{} // by status
		for _, t := range a.Templates {
			if !t.Sendable() {
				unsendable[t.Status] = append(unsendable[t.Status], t.TemplateID())
			}
		}
		for _, status := range slices.Sorted(maps.Keys(unsendable)) {
			good = false
			names := unsendable[status]
			says := fmt.Sprintf("Meta sends no messages of %d templates, %s: %s", len(names), status, strings.Join(names[:min(len(names), templatesNamed)], ", "))
			fix := "use other templates, or correct them in the WhatsApp Manager; `sluice templates list --account " + a.ID + " --status " + status + "` lists them"
			if status == "ARCHIVED" {
				says += ". Meta archives a template after 12 months without a message, and deletes it 28 days later"
				fix = "restore in the WhatsApp Manager those that you still need; `sluice templates list --account " + a.ID + " --status " + status + "` lists them"
			}
			v.add("templates", a.ID, found(Warn, says, fix))
		}
	}
	if good {
		v.add("templates", "", found(OK, "Meta sends the messages of all known templates", ""))
	}
}

// keySoon is how long before its expiry an API key is worth a warning.
const keySoon = 30 * 24 * time.Hour

// apiKeys checks when API keys expire.
func (v *visit) apiKeys(now time.Time) {
	keys := v.Producer.APIKeys
	if v.known != nil {
		keys = v.known.Keys()
	}
	good := true
	for _, k := range keys {
		left := k.Expires.Sub(now)
		if k.Revoked || k.Expires.IsZero() || left > keySoon {
			continue
		}
		good = false
		says := fmt.Sprintf("expires in %.0f days", left.Hours()/24)
		if left <= 0 {
			says = "has expired: its requests are refused"
		}
		if k.Client != "" {
			says += "; it belongs to the client " + k.Client
		}
		v.add("API key", k.Name, found(Warn, says, "`sluice keys rotate "+k.Name+"` makes a new one, or remove the key if it is not used"))
	}
	if good {
		v.add("API keys", "", found(OK, "none expires within 30 days", ""))
	}
}
