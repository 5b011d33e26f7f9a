package graphsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// ReadScenario reads a scenario file into o: YAML with the members account (an Account) and
// steps (a list of Step), with the names of the control API's JSON. The error names the file and
// what is wrong in it.
func ReadScenario(file string, o *Options) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	var tree any
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("scenario %s: %w", file, err)
	}
	// Converted to JSON, the file has the same names and rules as the control API.
	members, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("scenario %s: a mapping's keys must be text: %w", file, err)
	}
	scenario := struct {
		Account *Account `json:"account"`
		Steps   *[]Step  `json:"steps"`
	}{&o.Account, &o.Steps}
	if err := strictly(members, &scenario); err != nil {
		return fmt.Errorf("scenario %s: %w", file, err)
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("scenario %s: %w", file, err)
	}
	return nil
}
