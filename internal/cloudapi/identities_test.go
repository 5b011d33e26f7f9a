package cloudapi_test

import (
	"reflect"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// TestIdentities reads who an item of a webhook is about.
func TestIdentities(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value string
		want  message.Identities
	}{
		"a status of a phone number": {
			`"statuses":[{"id":"wamid.1","status":"sent","recipient_id":"16505551234"}],"contacts":[{"wa_id":"16505551234","user_id":"US.1","parent_user_id":"US.ENT.2"}]`,
			message.Identities{User: "US.1", Parent: "US.ENT.2", Phones: []string{"16505551234"}},
		},
		"a status of a user id": {
			`"statuses":[{"id":"wamid.1","status":"sent","recipient_user_id":"US.1","recipient_parent_user_id":"US.ENT.2"}]`,
			message.Identities{User: "US.1", Parent: "US.ENT.2"},
		},
		"a status of a group": {`"statuses":[{"id":"wamid.1","status":"sent","recipient_id":"120363","recipient_type":"group"}]`, message.Identities{}},
		"a message": {
			`"messages":[{"id":"wamid.1","from":"16505551234","from_user_id":"US.1","type":"text"}],"contacts":[{"wa_id":"16505551234","user_id":"US.1"}]`,
			message.Identities{User: "US.1", Phones: []string{"16505551234"}},
		},
		"a message without a phone number": {`"messages":[{"id":"wamid.1","from_user_id":"US.1","type":"text"}]`, message.Identities{User: "US.1"}},
		"a changed phone number": {
			`"messages":[{"id":"wamid.9","from":"16505551234","from_user_id":"US.1","type":"system","system":{"type":"user_changed_number","wa_id":"16505550000","user_id":"US.2","previous_user_id":"US.1"}}]`,
			message.Identities{User: "US.2", Phones: []string{"16505550000"}, FormerUser: "US.1", FormerPhone: "16505551234", Change: "wamid.9"},
		},
		"a changed user id": {
			`"messages":[{"id":"wamid.9","from_user_id":"US.1","type":"system","system":{"type":"user_changed_user_id","user_id":"US.2","previous_user_id":"US.1"}}]`,
			message.Identities{User: "US.2", FormerUser: "US.1", Change: "wamid.9"},
		},
		"a changed user id of a known phone number": {
			`"messages":[{"id":"wamid.9","from":"16505551234","type":"system","system":{"type":"user_changed_user_id","user_id":"US.2","previous_user_id":"US.1"}}]`,
			message.Identities{User: "US.2", Phones: []string{"16505551234"}, FormerUser: "US.1", Change: "wamid.9"},
		},
		"another system message": {
			`"messages":[{"id":"wamid.9","from":"16505551234","from_user_id":"US.1","type":"system","system":{"type":"customer_identity_changed"}}]`,
			message.Identities{User: "US.1", Phones: []string{"16505551234"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := `{"object":"whatsapp_business_account","entry":[{"id":"500","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"42"},` + c.value + `}}]}]}`
			events, err := cloudapi.Events([]byte(body), time.Now())
			if err != nil || len(events) != 1 {
				t.Fatal(events, err)
			}
			got, ok := cloudapi.Identities(events[0])
			if want := !reflect.DeepEqual(c.want, message.Identities{}); ok != want {
				t.Fatalf("read %+v, %t", got, ok)
			}
			c.want.Number, c.want.Account = "42", "500"
			if ok && !reflect.DeepEqual(got, c.want) {
				t.Errorf("read %+v, want %+v", got, c.want)
			}
		})
	}
}
