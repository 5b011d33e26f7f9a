package doctor

import (
	"context"

	"sluice/internal/outbox"
)

// outbox checks that the producers can read the outbox, if there is one.
func (v *visit) outbox(ctx context.Context) {
	o := v.Producer.Outbox
	if o.URL == "" {
		return
	}
	f := found(OK, "the table "+o.Table+" can be read and marked", "")
	if err := outbox.Check(ctx, string(o.URL), o.Table); err != nil {
		f = found(Fail, err.Error(), "see docs/runbooks/SluiceOutboxUnreachable.md. The messages in the table wait until then")
	}
	v.add("outbox", "", f)
}
