package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed static
var staticFiles embed.FS

// versions are the first digits of the hashes of the static files, by their paths.
var versions = func() map[string]string {
	all := map[string]string{}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := staticFiles.ReadFile(name)
		sum := sha256.Sum256(text)
		all[strings.TrimPrefix(name, "static/")] = hex.EncodeToString(sum[:8])
		return err
	})
	if err != nil {
		panic(err)
	}
	return all
}()

// staticPath returns the path of a static file. It changes with the file, so browsers may keep the file.
func staticPath(file string) string { return root + "static/" + file + "?v=" + versions[file] }

// serveStatic serves a static file. They need no session: the sign-in page uses them.
func serveStatic(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	if versions[file] == "" {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == versions[file] {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, staticFiles, "static/"+file)
}
