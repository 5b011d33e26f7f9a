package chaos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/rig"
)

// replay lets Meta report once more, signed, that each message was sent and delivered, as of
// so long ago and in any order: what a repeat that was under way for long, or a recording,
// looks like.
func (r *run) replay(ago time.Duration) {
	type object = map[string]any
	at := strconv.FormatInt(time.Now().Add(-ago).Unix(), 10)
	number := map[string][]object{}
	r.must(r.Accepted(r.ctx, func(a graphsim.Accepted) {
		for _, status := range []string{"delivered", "sent"} {
			number[a.Number] = append(number[a.Number], object{
				"id": a.WAMID, "status": status, "timestamp": at, "recipient_id": a.To, "biz_opaque_callback_data": a.Marker,
			})
		}
	}), "read the simulator's ledger")
	for id, statuses := range number {
		r.chance.Shuffle(len(statuses), func(i, j int) { statuses[i], statuses[j] = statuses[j], statuses[i] })
		for len(statuses) > 0 {
			n := min(500, len(statuses))
			r.report(object{"object": "whatsapp_business_account", "entry": []object{{
				"id": "102290129340398", "changes": []object{{"field": "messages", "value": object{
					"messaging_product": "whatsapp", "metadata": object{"display_phone_number": "15550783881", "phone_number_id": id},
					"statuses": statuses[:n],
				}}},
			}}})
			statuses = statuses[n:]
		}
	}
	r.tell("every report came again, as of %s ago", ago)
}

// report posts a signed notification of Meta's to the webhook program.
func (r *run) report(notification any) {
	body, err := json.Marshal(notification)
	r.must(err, "report")
	req, err := http.NewRequestWithContext(r.ctx, http.MethodPost, rig.HookURL(r.hook), bytes.NewReader(body))
	r.must(err, "report")
	req.Header.Set(cloudapi.SignatureHeader, cloudapi.Sign(rig.AppSecret, body))
	resp, err := r.HTTP.Do(req)
	r.must(err, "report")
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		r.fatal("the webhook program answered a report with %s", resp.Status)
	}
}
