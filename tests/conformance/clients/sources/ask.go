// Asks with Go's net/http: `go run ask.go BASE MANIFEST ANSWERS`.

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	manifest, err := os.ReadFile(os.Args[2])
	must(err)
	for _, line := range strings.Split(strings.TrimSpace(string(manifest)), "\n") {
		part := strings.Split(line, "\t")
		var body io.Reader
		if part[3] != "" {
			content, err := os.ReadFile(part[3])
			must(err)
			body = bytes.NewReader(content)
			if part[4] == "chunked" {
				body = io.MultiReader(body) // of a length that net/http cannot know
			}
		}
		request, err := http.NewRequest(part[1], os.Args[1]+part[2], body)
		must(err)
		for _, header := range part[5:] {
			pair := strings.SplitN(header, ": ", 2)
			request.Header.Set(pair[0], pair[1])
		}
		reply, err := http.DefaultClient.Do(request)
		must(err)
		content, err := io.ReadAll(reply.Body)
		must(err)
		reply.Body.Close()
		must(os.WriteFile(filepath.Join(os.Args[3], part[0]), content, 0o644))
		fmt.Printf("%s\t%d\n", part[0], reply.StatusCode)
	}
}
