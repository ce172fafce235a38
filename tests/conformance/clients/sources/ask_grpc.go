// Asks with grpc-go: `ask_grpc HOST:PORT MANIFEST ANSWERS`. Messages stay bytes.

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

type plain struct{}

func (plain) Marshal(value interface{}) ([]byte, error) { return *value.(*[]byte), nil }
func (plain) Unmarshal(data []byte, value interface{}) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (plain) Name() string { return "proto" }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{}), grpc.MaxCallRecvMsgSize(64<<20)))
	must(err)
	defer connection.Close()
	manifest, err := os.ReadFile(os.Args[2])
	must(err)
	for _, line := range strings.Split(strings.TrimSpace(string(manifest)), "\n") {
		part := strings.Split(line, "\t")
		message, err := os.ReadFile(part[2])
		must(err)
		options := []grpc.CallOption{}
		if strings.HasPrefix(part[0], "gzip") {
			options = append(options, grpc.UseCompressor("gzip"))
		}
		within, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		var answer []byte
		err = connection.Invoke(within, "/"+part[1], &message, &answer, options...)
		cancel()
		if err == nil {
			must(os.WriteFile(filepath.Join(os.Args[3], part[0]), answer, 0o644))
		}
		fmt.Printf("%s\t%s\n", part[0], status.Code(err))
	}
}
