package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/internal/message"
)

// described is the description that the server itself serves.
type described struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	Paths    map[string]map[string]struct {
		OperationID string
		Security    *[]any
		Responses   map[string]struct {
			Content map[string]struct{ Schema any }
		}
	}
	open map[string]bool // "sendMessage 202": what no answer was seen of
}

func (b *bench) described(t *testing.T) *described {
	t.Helper()
	r := b.do(t, "GET", "/openapi.json", "", func(r *http.Request) { r.Header.Del("Authorization") })
	d := &described{t: t, compiler: jsonschema.NewCompiler(), open: map[string]bool{}}
	if err := json.Unmarshal([]byte(r.body), d); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	// A member that is not described is a fault here, though callers must bear it.
	for name, schema := range whole.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
		if name != "MetaMessage" {
			schema.(map[string]any)["additionalProperties"] = false
		}
	}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("api.json", whole); err != nil {
		t.Fatal(err)
	}
	for _, operations := range d.Paths {
		for _, o := range operations {
			for status := range o.Responses {
				d.open[o.OperationID+" "+status] = true
			}
		}
	}
	return d
}

// path finds the described path of an operation.
func (d *described) path(name string) (path, method string) {
	d.t.Helper()
	for path, operations := range d.Paths {
		for method, o := range operations {
			if o.OperationID == name {
				return path, method
			}
		}
	}
	d.t.Fatalf("there is no operation %s", name)
	return "", ""
}

// check holds an answer against what is described of the operation.
func (d *described) check(name string, r reply) {
	d.t.Helper()
	path, method := d.path(name)
	status := fmt.Sprint(r.status)
	response, known := d.Paths[path][method].Responses[status]
	if !known {
		d.t.Errorf("%s answers %s, which is not described: %s", name, status, r.body)
		return
	}
	delete(d.open, name+" "+status)
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	content, known := response.Content[media]
	if _, any := response.Content["*/*"]; any {
		known = true
	}
	if !known && len(response.Content) > 0 {
		d.t.Errorf("%s answers %s as %s", name, status, media)
	}
	if content.Schema == nil {
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	schema, err := d.compiler.Compile("api.json#/paths/" + escape(path) + "/" + method + "/responses/" + status + "/content/" + escape(media) + "/schema")
	if err != nil {
		d.t.Fatal(err)
	}
	values := json.NewDecoder(strings.NewReader(r.body))
	values.UseNumber()
	for values.More() {
		var value any
		err := values.Decode(&value)
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			d.t.Fatalf("%s %s: %v in %s", name, status, err, r.body)
		}
	}
}

// The server answers as its description says: every operation, each of its statuses, in the
// shape that is described, and nothing else.
func TestServerAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := b.described(t)
	sent, queued, nosuch := message.NewID(ours, "sent"), message.NewID(ours, "queued"), message.NewID(ours, "nosuch")
	b.post(t, envelope(`,"key":"sent"`))
	rich := b.keeper.records[sent]
	rich.State, rich.Code, rich.WAMID, rich.Reason, rich.Attempt = message.Failed, 131026, "wamid.x", "x", 1
	rich.AcceptedAt, rich.SendAt, rich.NextAt = time.Now(), time.Now(), time.Now()
	rich.Timeline = []message.Step{{At: time.Now(), State: message.Failed, Attempt: 1, Code: 131026, Reason: "x"}}
	b.keeper.records[sent] = rich
	rich.Ref = "r"
	b.clerk.records[sent] = rich
	b.clerk.records[queued] = message.Record{State: message.Queued}

	const profile, media = "/v25.0/" + ours + "/whatsapp_business_profile", "/v25.0/" + ours + "/media"
	const mark = `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`
	product := `{"messaging_product":"whatsapp",` + hello[1:]
	ndjson := withHeader("Content-Type", "application/x-ndjson")
	// The calls that work, by operation; below they are made to fail.
	good := map[string]struct {
		path, body string
		change     func(*http.Request)
	}{
		"sendMessage":        {"/v1/messages", envelope(`,"key":"sent"`), nil},
		"sendBatch":          {"/v1/messages/batch", envelope("") + "\n{\n" + envelope(`,"key":"sent"`) + "\n", ndjson},
		"getMessage":         {"/v1/messages/" + sent, "", nil},
		"findMessages":       {"/v1/messages?from=" + ours + "&ref=r", "", nil},
		"explainMessage":     {"/v1/messages/" + sent + "/explain", "", nil},
		"cancelMessage":      {"/v1/messages/" + queued + "/cancel", "", nil},
		"getDescription":     {"/openapi.json", "", nil},
		"graphSendMessage":   {metas, product, nil},
		"graphUploadMedia":   {media, "form", nil},
		"graphGetProfile":    {profile, "", nil},
		"graphSetProfile":    {profile, "{}", nil},
		"graphGetObject":     {"/v25.0/" + ours, "", nil},
		"graphDeleteMedia":   {"/v25.0/77", "", nil},
		"graphDownloadMedia": {"/v25.0/77/download", "", nil},
	}
	b.meta.object = map[string]any{"id": "77", "url": "https://lookaside.fbsbx.com/x", "mime_type": "image/png"}
	for name, g := range good {
		_, method := d.path(name)
		method = strings.ToUpper(method)
		call := func(more func(*http.Request)) {
			d.check(name, b.do(t, method, g.path, g.body, func(r *http.Request) {
				if g.change != nil {
					g.change(r)
				}
				if more != nil {
					more(r)
				}
			}))
		}
		call(nil)
		if name == "getDescription" {
			continue
		}
		call(func(r *http.Request) { r.Header.Del("Authorization") })
		call(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.scopeless) })
		call(func(r *http.Request) { r.Header["Authorization"] = []string{"a", "b"} })
		if strings.HasPrefix(name, "graph") {
			b.meta.away = true
			call(nil)
			b.meta.away = false
		}
	}
	d.check("graphGetObject", b.do(t, "GET", "/v25.0/77", "", nil))
	d.check("graphSendMessage", b.do(t, "POST", metas, mark, nil))
	// What only a body or the store makes fail.
	post := func(body string, change func(*http.Request)) {
		d.check("sendMessage", b.do(t, "POST", "/v1/messages", body, change))
	}
	post(envelope(""), nil)
	post("{", nil)
	post(`{"from":"`+theirs+`","message":`+hello+`}`, nil)
	post(envelope(`,"ref":"`+strings.Repeat("x", 300<<10)+`"`), nil)
	post(envelope(""), withHeader("Content-Type", "text/plain"))
	post(envelope(`,"class":"urgent"`), nil)
	slow, drip := io.Pipe()
	defer drip.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", b.URL+"/v1/messages", slow)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.narrow)
	req.Header.Set("Content-Type", "application/json")
	d.check("sendMessage", b.answered(t, req))
	d.check("sendBatch", b.do(t, "POST", "/v1/messages/batch", "", nil))
	d.check("getMessage", b.do(t, "GET", "/v1/messages/"+nosuch, "", nil))
	d.check("explainMessage", b.do(t, "GET", "/v1/messages/"+nosuch+"/explain", "", nil))
	d.check("cancelMessage", b.do(t, "POST", "/v1/messages/"+nosuch+"/cancel", "", nil))
	d.check("cancelMessage", b.do(t, "POST", "/v1/messages/"+sent+"/cancel", "", nil))
	d.check("findMessages", b.do(t, "GET", "/v1/messages?from=x&ref=r", "", nil))
	d.check("findMessages", b.do(t, "GET", "/v1/messages?from="+theirs+"&ref=r", "", nil))
	b.drain = func(context.Context, string, message.Class) (time.Duration, error) { return 1000 * time.Hour, nil }
	post(envelope(""), nil)
	d.check("graphSendMessage", b.do(t, "POST", metas, product, nil))
	b.keeper.err = errors.New("connection refused")
	b.clerk.err = b.keeper.err
	d.check("explainMessage", b.do(t, "GET", "/v1/messages/"+sent+"/explain", "", nil))
	d.check("cancelMessage", b.do(t, "POST", "/v1/messages/"+queued+"/cancel", "", nil))
	d.check("findMessages", b.do(t, "GET", "/v1/messages?from="+ours+"&ref=r", "", nil))
	b.drain = nil
	post(envelope(""), nil)
	d.check("graphSendMessage", b.do(t, "POST", metas, product, nil))
	d.check("getMessage", b.do(t, "GET", "/v1/messages/"+sent, "", nil))

	if len(d.open) > 0 {
		t.Errorf("described, and never answered in this test: %s", strings.Join(slices.Sorted(maps.Keys(d.open)), ", "))
	}
}
