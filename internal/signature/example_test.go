package signature_test

import (
	"errors"
	"fmt"

	"sluice/internal/message"
	"sluice/internal/signature"
)

// A payload is signed when its message is accepted, and verified before it is sent. Without the key, a person with
// write access to Redis cannot change it.
func ExampleSigner_Verify() {
	s := signature.New("the payload key")
	stored := s.Sign("106540352242922-kbpmyzgsq5f3u2hd7xw4orietc", []byte(`{"to":"+15551234567"}`))

	payload, err := s.Verify("106540352242922-kbpmyzgsq5f3u2hd7xw4orietc", stored)
	fmt.Println(string(payload), err)

	stored[len(stored)-3] = '8'
	_, err = s.Verify("106540352242922-kbpmyzgsq5f3u2hd7xw4orietc", stored)
	fmt.Println(errors.Is(err, message.ErrTampered))
	// Output:
	// {"to":"+15551234567"} <nil>
	// true
}
