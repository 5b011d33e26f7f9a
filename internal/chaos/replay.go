package chaos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sluice/client"
	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/rig"
)

// replay repeats Meta's reports that each message was sent and delivered, with times this long ago and in random
// order, as a late repeat or a recording would.
func (r *run) replay(ago time.Duration) {
	records := r.records(r.producer.taken())
	var all []graphsim.Accepted
	r.must(r.Accepted(r.ctx, func(a graphsim.Accepted) {
		if id, ok := rig.MarkedID(a.Marker); ok && records[id].State != client.StateFailed {
			all = append(all, a)
		}
	}), "read the simulator's messages")
	r.reports(all, time.Now().Add(-ago), "delivered", "sent")
	r.step("every report came again, as of %s ago", ago)
}

// reports posts signed statuses of messages to the webhook program, in random order.
func (r *run) reports(messages []graphsim.Accepted, at time.Time, statuses ...string) {
	type object = map[string]any
	by := map[string][]object{}
	for _, a := range messages {
		for _, status := range statuses {
			by[a.Number] = append(by[a.Number], object{
				"id": a.WAMID, "status": status, "timestamp": strconv.FormatInt(at.Unix(), 10), "recipient_id": a.To,
				"biz_opaque_callback_data": a.Marker,
			})
		}
	}
	for number, all := range by {
		r.chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for some := range slices.Chunk(all, 500) {
			r.report(object{"object": "whatsapp_business_account", "entry": []object{{
				"id": "102290129340398", "changes": []object{{"field": "messages", "value": object{
					"messaging_product": "whatsapp", "metadata": object{"display_phone_number": "15550783881", "phone_number_id": number},
					"statuses": some,
				}}},
			}}})
		}
	}
}

// report posts a signed webhook to the webhook program.
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
