package cloudapi

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
)

// Body returns the body of the POST to Meta for a stored message (see content.AppendPayload). It sets
// biz_opaque_callback_data to the marker, unless it is empty: Meta returns it in every status. A Direct Send
// message without ttl_seconds gets one that ends at expires, unless expires is zero. Body appends to a copy and
// parses nothing, except old Direct Send messages (see content.Ordered). The error has no content of the message.
func Body(payload []byte, marker string, expires time.Time) ([]byte, error) {
	if !bytes.HasPrefix(payload, []byte(`{"messaging_product":`)) || payload[len(payload)-1] != '}' {
		return nil, errors.New("stored message does not have the form of content.AppendPayload")
	}
	payload, err := content.Ordered(payload)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, len(payload)+len(marker)+64)
	body = append(body, payload[:len(payload)-1]...)
	if longest := content.OpenTTL(payload); longest > 0 && !expires.IsZero() {
		left := min(max(int(time.Until(expires).Seconds()), content.MinTTL), longest)
		body = append(body, `,"ttl_seconds":`...)
		body = strconv.AppendInt(body, int64(left), 10)
	}
	if marker != "" {
		body = append(body, `,"biz_opaque_callback_data":`...)
		body = jsondoc.AppendString(body, marker)
	}
	return append(body, '}'), nil
}

// accountMember is how the member ends that names the messaging account: paid_messaging_account_id is its former name. In a string
// the quote would have a backslash before it.
const accountMember = `messaging_account_id":`

// WithAccount returns the body of a POST to Meta with a messaging account, unless it names one or account is empty. It appends to
// the body. https://developers.facebook.com/documentation/business-messaging/whatsapp/account-model-evolution/messaging/
func WithAccount(body []byte, account string) []byte {
	if account == "" || bytes.Contains(body, []byte(accountMember)) {
		return body
	}
	body = append(body[:len(body)-1], `,"messaging_account_id":`...)
	return append(jsondoc.AppendString(body, account), '}')
}
