package jsondoc_test

import (
	"fmt"

	"sluice/internal/jsondoc"
)

// Read parses a text. Values have their members and elements, and can be written in the canonical form.
func ExampleDoc_Read() {
	var d jsondoc.Doc
	if err := d.Read(`{"to": "+15551234567", "text": {"body": "hi", "preview_url": false}}`); err != nil {
		fmt.Println(err)
		return
	}
	body, ok := d.Root().Get("text").Get("body").Text()
	fmt.Println(body, ok)
	fmt.Println(d.Root().Get("template").Present())
	fmt.Println(string(d.Root().AppendCanonical(nil)))
	// Output:
	// hi true
	// false
	// {"text":{"body":"hi","preview_url":false},"to":"+15551234567"}
}

// Read refuses text that JSON parsers understand in different ways. The error has a code and a path.
func ExampleError() {
	var d jsondoc.Doc
	for _, text := range []string{
		`{"to": "+15551234567", "to": "+15557654321"}`,
		`{"text": {"body": "\ud83d"}}`,
		`{"tags": ["a", "b"]} {}`,
	} {
		err := d.Read(text)
		fmt.Printf("%s at %q\n", err.Code, err.Path)
	}
	// Output:
	// json_duplicate_member at "to"
	// utf8_invalid at "text.body"
	// json_trailing_data at ""
}
