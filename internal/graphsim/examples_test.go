package graphsim

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/content"
)

// example is a message that passes the rules of the package content, and changes to it. The same files test
// these rules and the simulator. A change is new values by the path of the member; null
// removes it. "<60>" in a string means 60 emoji, and "copies" that many of "of".
type example struct {
	Name    string
	Message json.RawMessage
	Passes  []map[string]any
	Refused []struct {
		Set map[string]any
		Say []string // "path rule" of each problem
	}
}

// Meta's answer to an example of every type of message, and to one that breaks each rule.
func TestExamplesMeetMetasAnswers(t *testing.T) {
	t.Parallel()
	sim := New(Options{})
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	files, err := filepath.Glob("../content/testdata/messages/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	taken, refused := 0, 0
	for _, file := range files {
		var examples []example
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal([]byte(strings.ReplaceAll(string(b), "1e400", "1")), &examples)
		}
		if err != nil {
			t.Fatal(file, err)
		}
		for _, e := range examples {
			for _, set := range append(e.Passes, nil) {
				taken++
				expect(t, server.URL, e, set, wrong{})
			}
			for _, r := range e.Refused {
				want := wrong{}
				for _, say := range r.Say {
					if _, rule, _ := strings.Cut(say, " "); want.code == 0 {
						want = answerTo(rule)
					}
				}
				if value, ok := r.Set["type"]; ok && value == nil {
					continue // text, at Meta
				}
				if _, ok := r.Set["access_token"]; ok {
					continue // a token, at Meta
				}
				refused++
				expect(t, server.URL, e, r.Set, want)
			}
		}
	}
	t.Logf("%d passed, %d refused", taken, refused)
}

// answerTo returns the code of Meta's answer to what breaks a rule; 0: Meta accepts it.
func answerTo(rule string) (w wrong) {
	if _, ok := passed[rule]; !ok {
		w.code, w.plain = content.MetaCode(rule)
	}
	return w
}

// expect POSTs an example with a change and checks the answer.
func expect(t *testing.T, url string, e example, set map[string]any, want wrong) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(e.Message, &object); err != nil {
		t.Fatal(e.Name, err)
	}
	for _, path := range slices.Sorted(maps.Keys(set)) {
		put(object, strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }), expand(set[path]))
	}
	object["messaging_product"] = cmp.Or(object["messaging_product"], any("whatsapp"))
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", url+"/v25.0/106540352242922/messages", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error graphError `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	got, status := answer.Error, http.StatusOK
	if want.code != 0 {
		status = cmp.Or(describe(want.code).Status, http.StatusBadRequest)
	}
	if resp.StatusCode != status || got.Code != want.code || want.code != 0 && want.plain != (got.Data == nil) || got.Data != nil && got.Data.Details == "" {
		t.Errorf("%s with %.100v: %d, code %d %q, want %d, code %d", e.Name, set, resp.StatusCode, got.Code, got.Message, status, want.code)
	}
}

func put(in any, steps []string, value any) {
	switch in := in.(type) {
	case map[string]any:
		if len(steps) > 1 {
			put(in[steps[0]], steps[1:], value)
		} else if in[steps[0]] = value; value == nil {
			delete(in, steps[0])
		}
	case []any:
		if i, _ := strconv.Atoi(steps[0]); len(steps) > 1 {
			put(in[i], steps[1:], value)
		} else {
			in[i] = value
		}
	}
}

var repeated = regexp.MustCompile(`<(\d+)(?: (\w))?>`)

func expand(value any) any {
	switch v := value.(type) {
	case string:
		return repeated.ReplaceAllStringFunc(v, func(s string) string {
			m := repeated.FindStringSubmatch(s)
			count, _ := strconv.Atoi(m[1])
			return strings.Repeat(cmp.Or(m[2], "😀"), count)
		})
	case []any:
		for i := range v {
			v[i] = expand(v[i])
		}
	case map[string]any:
		if count, ok := v["copies"].(float64); ok {
			one, _ := json.Marshal(expand(v["of"]))
			all := make([]any, int(count))
			for i := range all {
				json.Unmarshal([]byte(strings.ReplaceAll(string(one), "#", strconv.Itoa(i))), &all[i])
			}
			return all
		}
		for name := range v {
			v[name] = expand(v[name])
		}
	}
	return value
}
