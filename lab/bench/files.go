package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// WriteFiles writes the report to a directory, as bench.txt, bench.json and bench.svg.
func (r *Report) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { // for everybody to read
		return fmt.Errorf("writing the report: %w", err)
	}
	return errors.Join(
		writeFile(filepath.Join(dir, "bench.txt"), r.WriteText),
		writeFile(filepath.Join(dir, "bench.json"), r.WriteJSON),
		writeFile(filepath.Join(dir, "bench.svg"), r.WriteChart),
	)
}

// WriteJSON writes the report for programs, with every measurement of every round.
func (r *Report) WriteJSON(w io.Writer) error {
	err := json.MarshalWrite(w, r, jsontext.WithIndent("  "))
	if err == nil {
		_, err = io.WriteString(w, "\n")
	}
	return err
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
