// Package nodetest installs npm packages for tests.
package nodetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Install copies the files of the folder from into the folder to, and installs the packages of package-lock.json there, without
// their install scripts. It needs Node.js 20.19 or newer, and npm. It does nothing if these packages are installed there already.
func Install(from, to string) error {
	version, err := exec.Command("node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node is not installed. Install Node.js 20.19 or newer, and npm: %w", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, _ := strconv.Atoi(major); n < 20 {
		return fmt.Errorf("node is %s, which is too old. Install Node.js 20.19 or newer, or run it by make, which does so", strings.TrimSpace(string(version)))
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, f.Name()), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		return err
	}
	installed := filepath.Join(to, "node_modules", ".sluice-lock")
	if done, err := os.ReadFile(installed); err == nil && bytes.Equal(done, lock) {
		return nil
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = to
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return os.WriteFile(installed, lock, 0o644)
}
