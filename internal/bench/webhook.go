package bench

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// webhook posts signed statuses to the webhook program, and to a bare net/http server that
// checks their signature; then 1,000 statuses in each POST.
func webhook(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 5*time.Second)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed, Fsync) {
		o.say("webhook: %s", durability)
		more, err := webhookOnce(ctx, o, durability)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func webhookOnce(ctx context.Context, o Options, durability string) (rows []Row, err error) {
	w, err := newWorld(ctx, o, durability)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.configure(rig.Numbers(12, 80)); err != nil {
		return nil, err
	}
	addr, err := ports.Free()
	if err != nil {
		return nil, err
	}
	bare, err := w.Served(ctx, "hmac", addr, nil)
	if err != nil {
		return nil, err
	}
	ours, err := w.program(ctx, "webhook")
	if err != nil {
		return nil, err
	}
	const path = "/webhooks/whatsapp/main"
	signed := func(addr string, body []byte) request {
		return newRequest(addr, path, map[string]string{cloudapi.SignatureHeader: cloudapi.Sign(rig.AppSecret, body)}, body, http.StatusOK)
	}

	one := statuses(1)
	baseline := Row{Case: "net/http: a server that checks the signature", Durability: durability}
	n, err := w.loaded(ctx, &baseline, bare, signed(bare.Addr, one), o.Duration)
	if err != nil {
		return nil, err
	}
	baseline.Case += fmt.Sprintf(", best with %d connections", n)
	rows = append(rows, baseline)

	row := Row{Case: "one status in each POST", Durability: durability}
	err = w.profile(ctx, "webhook-"+durability, []*rig.Process{ours}, 3*o.Duration, func() (err error) {
		n, err = w.loaded(ctx, &row, ours, signed(ours.Addr, one), o.Duration)
		return err
	})
	if err != nil {
		return rows, err
	}
	row.Case += fmt.Sprintf(", best with %d connections", n)
	row.Baseline, row.Ratio = baseline.PerSecond, new(ratio(*row.PerSecond, *baseline.PerSecond))
	rows = append(rows, row)

	large := Row{Case: "1,000 statuses in each POST, one after the other", Durability: durability}
	body := statuses(1000)
	before, err := w.used(ctx, []*rig.Process{ours})
	if err != nil {
		return rows, err
	}
	a, err := post(ctx, ours.Addr, signed(ours.Addr, body), 1, 50, o.Duration)
	if err != nil {
		return rows, err
	}
	after, err := w.used(ctx, []*rig.Process{ours})
	if err != nil {
		return rows, err
	}
	after.since(before).costs(&large, 1000*len(a.took))
	large.PerSecond = new(1000 * a.perSecond())
	large.P50, large.P99 = millis(percentile(a.took, 50)), millis(percentile(a.took, 99))
	return append(rows, large), nil
}

// statuses returns the body of a webhook with n statuses, as Meta sends them.
func statuses(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product":"whatsapp",` +
		`"metadata":{"display_phone_number":"15550783881","phone_number_id":"` + rig.Numbers(1, 1)[0].ID + `"},"statuses":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI4RUZG%010d","status":"delivered","timestamp":"1763821860","recipient_id":"49%09d00",`+
			`"biz_opaque_callback_data":"sl1.bench.%s-abcdefghijklmnopqrstuvwxyz.1.0123456789abcdef",`+
			`"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"marketing"}}`, i, i, rig.Numbers(1, 1)[0].ID)
	}
	b.WriteString(`]},"field":"messages"}]}]}`)
	return []byte(b.String())
}
