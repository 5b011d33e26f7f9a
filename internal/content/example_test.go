package content_test

import (
	"encoding/json"
	"fmt"

	"sluice/internal/content"
)

func ExampleParse() {
	_, problems := content.Parse(json.RawMessage(`{"to": "15551234567", "type": "text", "text": {"body": ""}}`))
	for _, p := range problems {
		fmt.Printf("%s: %s: %s %s\n", p.Path, p.Code, p.Detail, p.Fix)
	}
	// Output:
	// to: recipient_needs_plus: A phone number begins with a plus and the country code. Write it as +<country code><number>.
	// text.body: text_empty: The text body is missing or blank. Give it 1 to 4096 characters.
}
