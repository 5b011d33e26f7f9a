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

const (
	// templatesNamed is how many templates a finding names.
	templatesNamed = 5
	// idleLong is how long a template is without a message before that is worth a warning: a month before Meta archives it.
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-archival
	idleLong = 335 * 24 * time.Hour
	// aboutArchival says what Meta does with templates that are not used.
	aboutArchival = "Meta archives a template 12 months after it was last sent, edited or restored, and deletes it 28 days later"
)

// templates checks the stored templates of all accounts. It asks Meta nothing.
func (v *visit) templates(ctx context.Context, db *store.DB) {
	stored := templates.NewStore(db)
	catalogue := templates.NewCatalogue(stored, holds.NewAccounts(db), nil)
	if err := catalogue.Load(ctx); err != nil {
		v.add("templates", "", refused(err))
		return
	}
	good := true
	warn := func(account, says, fix string) {
		good = false
		v.add("templates", account, found(Warn, says, fix))
	}
	for _, a := range catalogue.Accounts() {
		if a.Sync.Fails > 0 {
			warn(a.ID, "the last read from Meta failed: "+a.Sync.Error, "correct what the lines about the token and the account say. Until then messages of its templates may pass unchecked")
		}
		sent, err := stored.LastSent(ctx, a.Numbers)
		if err != nil {
			v.add("templates", a.ID, refused(err))
			return
		}
		unsendable := map[string][]string{} // by status
		var idle []string
		for _, t := range a.Templates {
			id := t.TemplateID()
			switch {
			case !t.Sendable():
				unsendable[t.Status] = append(unsendable[t.Status], id)
			case t.Active > 0 && time.Since(time.UnixMilli(t.Active)) > idleLong && time.Since(sent[id]) > idleLong:
				idle = append(idle, id)
			}
		}
		for _, status := range slices.Sorted(maps.Keys(unsendable)) {
			says := "templates that Meta does not send, because they are " + status + ": " + some(unsendable[status])
			fix := "use other templates, or correct them in the WhatsApp Manager"
			if status == "ARCHIVED" {
				says += ". " + aboutArchival
				fix = "restore in the WhatsApp Manager those that you still need"
			}
			warn(a.ID, says, fix+"; `sluice templates list --account "+a.ID+" --status "+status+"` lists them")
		}
		if len(idle) > 0 {
			warn(a.ID, "templates of which Sluice has sent no message for 11 months: "+some(idle)+". "+aboutArchival, "send a message of each that you still need, or edit it in the WhatsApp Manager")
		}
	}
	if good {
		v.add("templates", "", found(OK, "Meta sends the messages of all known templates", ""))
	}
}

// some returns how many templates there are, and the names of the first ones.
func some(templates []string) string {
	return fmt.Sprintf("%d (%s)", len(templates), strings.Join(templates[:min(len(templates), templatesNamed)], ", "))
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
