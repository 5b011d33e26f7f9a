package intake_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/described"
	"sluice/internal/message"
)

// The server answers as its description says: it has every operation with every status and body of the description,
// and no others.
func TestServerAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	open := func(r *http.Request) { r.Header.Del("Authorization") }
	d := described.Read(t, b.do(t, "GET", "/openapi.json", "", open).body, "MetaMessage")
	check := func(name string, r reply) { t.Helper(); d.Check(name, r.status, r.header, r.body) }
	sent, queued, nosuch := message.NewID(ours, "sent"), message.NewID(ours, "queued"), message.NewID(ours, "nosuch")
	b.post(t, envelope(`,"key":"sent"`))
	rich := b.store.records[sent]
	rich.State, rich.Code, rich.WAMID, rich.Reason, rich.Attempt = message.Failed, 131026, "wamid.x", "x", 1
	rich.AcceptedAt, rich.SendAt, rich.NextAt = time.Now(), time.Now(), time.Now()
	rich.Timeline = []message.Step{{At: time.Now(), State: message.Failed, Attempt: 1, Code: 131026, Reason: "x"}}
	rich.Ref = "r"
	b.store.records[sent] = rich
	b.store.records[queued] = message.Record{State: message.Queued}

	const profile, media = "/v25.0/" + ours + "/whatsapp_business_profile", "/v25.0/" + ours + "/media"
	const mark = `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`
	product := `{"messaging_product":"whatsapp",` + hello[1:]
	const marketing = "/v25.0/" + ours + "/marketing_messages"
	const sale = `{"messaging_product":"whatsapp","to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`
	b.accounts[ours], b.meta.objects = "900", map[string]string{"88": "900"}
	ndjson := withHeader("Content-Type", "application/x-ndjson")
	// A successful call of each operation. The failing ones follow.
	good := map[string]struct {
		path, body string
		change     func(*http.Request)
	}{
		"sendMessage":       {"/v1/messages", envelope(`,"key":"sent"`), nil},
		"sendBatch":         {"/v1/messages/batch", envelope("") + "\n{\n" + envelope(`,"key":"sent"`) + "\n", ndjson},
		"checkBatch":        {"/v1/messages/batch/check", envelope("") + "\n{\n" + envelope(`,"key":"sent"`) + "\n", ndjson},
		"getMessage":        {"/v1/messages/" + sent, "", nil},
		"listMessages":      {"/v1/messages?state=failed,queued&limit=1", "", nil},
		"searchMessages":    {"/v1/messages/search", `{"state":"failed,queued","limit":1}`, nil},
		"checkMessage":      {"/v1/messages/check", envelope(`,"key":"check"`), nil},
		"getUsage":          {"/v1/usage", "", nil},
		"getQuotas":         {"/v1/quotas", "", withHeader("Authorization", "Bearer "+b.wide)},
		"listCampaigns":     {"/v1/campaigns", "", nil},
		"getCampaign":       {"/v1/campaigns/spring", "", nil},
		"cancelCampaign":    {"/v1/campaigns/spring/cancel", `{"reason":"wrong price"}`, withHeader("Authorization", "Bearer "+b.wide)},
		"checkMedia":        {"/v1/media/check", `{"type":"image","link":"https://a/good"}`, nil},
		"addSuppression":    {"/v1/suppressions", `{"recipient":"+15550000000"}`, withHeader("Authorization", "Bearer "+b.wide)},
		"removeSuppression": {"/v1/suppressions/remove", `{"recipient":"+15550000002"}`, withHeader("Authorization", "Bearer "+b.wide)},
		"showSuppression":   {"/v1/suppressions/show", `{"recipient":"+15550000003"}`, withHeader("Authorization", "Bearer "+b.wide)},
		"listSuppressions":  {"/v1/suppressions", "", withHeader("Authorization", "Bearer "+b.wide)},
		"importSuppressions": {"/v1/suppressions/import", `{"recipient":"+15550000004"}`, func(r *http.Request) {
			ndjson(r)
			r.Header.Set("Authorization", "Bearer "+b.wide)
		}},
		"exportSuppressions": {"/v1/suppressions/export", "", withHeader("Authorization", "Bearer "+b.wide)},
		"findMedia":          {"/v1/media/" + uploadedHash + "?phone_number_id=" + ours, "", nil},
		"listStates":         {"/v1/states", "", nil},
		"explainMessage":     {"/v1/messages/" + sent + "/explain", "", nil},
		"cancelMessage":      {"/v1/messages/" + queued + "/cancel", "", nil},
		"getOverview":        {"/", "", nil},
		"getDocumentation":   {"/docs", "", nil},
		"getDescription":     {"/openapi.json", "", nil},
		"graphSendMessage":   {metas, product, nil},
		"graphUploadMedia":   {media, "form", nil},
		"graphGetProfile":    {profile, "", nil},
		"graphSetProfile":    {profile, "{}", nil},
		"graphGetObject":     {"/v25.0/" + ours, "", nil},
		"graphDeleteObject":  {"/v25.0/77", "", nil},
		"graphSetObject":     {"/v25.0/88", "{}", nil},
		"graphReadEdge":      {"/v25.0/" + ours + "/settings", "", nil},
		"graphWriteEdge":     {"/v25.0/" + ours + "/block_users", "{}", nil},
		"graphDeleteEdge":    {"/v25.0/" + ours + "/message_qrdls/AB", "", nil},
		"graphMarkRead":      {metas, mark, nil},
		"graphSendMarketing": {marketing, sale, nil},
		"graphDownloadMedia": {"/v25.0/77/download", "", nil},

		"graphGetTemplateLibrary": {"/v25.0/message_template_library", "", nil},
	}
	b.suppressions.last = true
	b.suppressions.all[" +15550000003"] = message.Suppression{Source: message.SuppressedByWord}
	b.meta.object = map[string]any{"id": "77", "url": "https://lookaside.fbsbx.com/x", "mime_type": "image/png"}
	for name, g := range good {
		_, method := d.Find(name)
		call := func(more func(*http.Request)) {
			check(name, b.do(t, method, g.path, g.body, func(r *http.Request) {
				if g.change != nil {
					g.change(r)
				}
				if more != nil {
					more(r)
				}
			}))
		}
		call(nil)
		if !strings.HasPrefix(name, "graph") {
			call(func(r *http.Request) { r.URL.RawQuery = "nosuch=1" })
		}
		if path, _ := d.Find(name); path == "/" || path == "/docs" || path == "/openapi.json" {
			continue
		}
		call(open)
		call(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.scopeless) })
		call(func(r *http.Request) { r.Header["Authorization"] = []string{"a", "b"} })
		if strings.HasPrefix(name, "graph") {
			b.meta.away = true
			call(nil)
			b.meta.away = false
		}
	}
	check("graphGetObject", b.do(t, "GET", "/v25.0/77", "", nil))
	check("graphSendMessage", b.do(t, "POST", metas, mark, nil))
	// Failures that need a certain body or a failing store.
	post := func(body string, change func(*http.Request)) {
		check("sendMessage", b.do(t, "POST", "/v1/messages", body, change))
		check("checkMessage", b.do(t, "POST", "/v1/messages/check", body, change))
		check("searchMessages", b.do(t, "POST", "/v1/messages/search", body, change))
	}
	check("searchMessages", b.do(t, "POST", "/v1/messages/search", `{"ref":"r","phone_number_id":"`+theirs+`"}`, nil))
	post(envelope(""), nil)
	post("{", nil)
	post(`{"from":"`+theirs+`","message":`+hello+`}`, nil)
	post(envelope(`,"ref":"`+strings.Repeat("x", 300<<10)+`"`), nil)
	describeSuppressions(t, b, check)
	post(envelope(""), withHeader("Content-Type", "text/plain"))
	post(envelope(`,"class":"urgent"`), nil)
	for name, path := range map[string]string{"sendMessage": "/v1/messages", "checkMessage": "/v1/messages/check", "searchMessages": "/v1/messages/search", "addSuppression": "/v1/suppressions", "removeSuppression": "/v1/suppressions/remove", "showSuppression": "/v1/suppressions/show", "checkMedia": "/v1/media/check", "cancelCampaign": "/v1/campaigns/spring/cancel"} {
		slow, drip := io.Pipe()
		defer drip.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.URL+path, slow)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+b.narrow)
		req.Header.Set("Content-Type", "application/json")
		check(name, b.answered(t, req))
	}
	check("sendBatch", b.do(t, "POST", "/v1/messages/batch", "", nil))
	check("checkBatch", b.do(t, "POST", "/v1/messages/batch/check", "", nil))
	check("getMessage", b.do(t, "GET", "/v1/messages/"+nosuch, "", nil))
	check("explainMessage", b.do(t, "GET", "/v1/messages/"+nosuch+"/explain", "", nil))
	check("cancelMessage", b.do(t, "POST", "/v1/messages/"+nosuch+"/cancel", "", nil))
	check("cancelMessage", b.do(t, "POST", "/v1/messages/"+sent+"/cancel", "", nil))
	check("cancelMessage", b.do(t, "POST", "/v1/messages/"+queued+"/cancel", `{"reason":"x"}`, nil))
	check("listMessages", b.do(t, "GET", "/v1/messages", "", nil))
	check("findMedia", b.do(t, "GET", "/v1/media/"+uploadedHash, "", nil))
	check("findMedia", b.do(t, "GET", "/v1/media/"+strings.Repeat("1", 64)+"?phone_number_id="+ours, "", nil))
	check("getUsage", b.do(t, "GET", "/v1/usage?from=yesterday", "", nil))
	check("listCampaigns", b.do(t, "GET", "/v1/campaigns?limit=x", "", nil))
	check("getCampaign", b.do(t, "GET", "/v1/campaigns/summer", "", nil))
	check("cancelCampaign", b.do(t, "POST", "/v1/campaigns/summer/cancel", `{"reason":"x"}`, nil))
	check("cancelCampaign", b.do(t, "POST", "/v1/campaigns/spring/cancel", `{"reason":"x"}`, nil))
	for _, body := range []string{"{", `{"type":"gif"}`, `{"type":"image","link":"https://a/busy"}`, `{"link":"` + strings.Repeat("x", 64<<10) + `"}`} {
		check("checkMedia", b.do(t, "POST", "/v1/media/check", body, nil))
	}
	check("checkMedia", b.do(t, "POST", "/v1/media/check", "{}", withHeader("Content-Type", "text/plain")))
	for _, body := range []string{"{}", "{", `{"reason":"` + strings.Repeat("x", 64<<10) + `"}`} {
		check("cancelCampaign", b.do(t, "POST", "/v1/campaigns/spring/cancel", body, nil))
	}
	check("cancelCampaign", b.do(t, "POST", "/v1/campaigns/spring/cancel", "{}", withHeader("Content-Type", "text/plain")))
	check("listMessages", b.do(t, "GET", "/v1/messages?phone_number_id="+theirs+"&ref=r", "", nil))
	b.elsewhere = map[string]time.Time{"+15551234567": time.Now().Add(time.Hour)}
	post(envelope(""), nil)
	b.elsewhere = nil
	b.eta = func(context.Context, string, message.Class) (time.Duration, error) { return 1000 * time.Hour, nil }
	post(envelope(""), nil)
	check("graphSendMessage", b.do(t, "POST", metas, product, nil))
	check("graphSendMarketing", b.do(t, "POST", marketing, sale, nil))
	b.store.err = errors.New("connection refused")
	check("explainMessage", b.do(t, "GET", "/v1/messages/"+sent+"/explain", "", nil))
	check("cancelMessage", b.do(t, "POST", "/v1/messages/"+queued+"/cancel", "", nil))
	check("listMessages", b.do(t, "GET", "/v1/messages?phone_number_id="+ours+"&ref=r", "", nil))
	b.eta = nil
	post(envelope(`,"key":"check"`), nil)
	check("searchMessages", b.do(t, "POST", "/v1/messages/search", `{"ref":"r"}`, nil))
	check("graphSendMessage", b.do(t, "POST", metas, product, nil))
	check("graphSendMarketing", b.do(t, "POST", marketing, sale, nil))
	check("getMessage", b.do(t, "GET", "/v1/messages/"+sent, "", nil))
	check("getUsage", b.do(t, "GET", "/v1/usage", "", nil))
	check("findMedia", b.do(t, "GET", "/v1/media/"+uploadedHash+"?phone_number_id="+ours, "", nil))
	check("getQuotas", b.do(t, "GET", "/v1/quotas", "", withHeader("Authorization", "Bearer "+b.wide)))
	check("getQuotas", b.do(t, "GET", "/v1/quotas?client=unknown", "", withHeader("Authorization", "Bearer "+b.wide)))
	b.campaigns.err = b.store.err
	check("listCampaigns", b.do(t, "GET", "/v1/campaigns", "", nil))
	check("getCampaign", b.do(t, "GET", "/v1/campaigns/spring", "", nil))
	check("cancelCampaign", b.do(t, "POST", "/v1/campaigns/spring/cancel", `{"reason":"x"}`, nil))

	d.Done()
}
