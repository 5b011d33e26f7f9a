package cloudapi

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
)

// Body returns what is POSTed to Meta for a stored message, see content.AppendPayload. The marker
// goes into biz_opaque_callback_data, where Meta gives it back in every status; an empty marker is
// left out. A Direct Send message without a ttl_seconds gets one that ends when expires says; with
// a zero time it gets none. Body parses nothing, except of an old Direct Send message, see
// content.Ordered: it appends to a copy. The error names no content.
func Body(payload []byte, marker string, expires time.Time) ([]byte, error) {
	if !bytes.HasPrefix(payload, []byte(`{"messaging_product":`)) || payload[len(payload)-1] != '}' {
		return nil, errors.New("stored message: not in the form that content.AppendPayload writes")
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
