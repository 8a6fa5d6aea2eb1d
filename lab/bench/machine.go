package bench

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Machine is where and when something was measured, and what.
type Machine struct {
	CPU         string   `json:"cpu"`
	Cores       int      `json:"cores"`
	MemoryBytes int64    `json:"memory_bytes,omitzero"`
	FsyncMicros float64  `json:"fsync_us"` // a small write and its fsync where the data lies
	OS          string   `json:"os"`
	Go          string   `json:"go"`
	Postgres    string   `json:"postgres"`
	Commit      string   `json:"commit"`
	Date        string   `json:"date"`
	Runtime     []string `json:"runtime,omitzero"` // settings such as GOGC, where they are set
}

func (s *site) machine() Machine {
	m := Machine{
		CPU:         cpuModel(),
		Cores:       runtime.NumCPU(),
		MemoryBytes: memorySize(),
		FsyncMicros: float64(s.fsync.Microseconds()),
		OS:          runtime.GOOS + "/" + runtime.GOARCH,
		Go:          runtime.Version(),
		Postgres:    s.binaries.Version(),
		Commit:      cmp.Or(s.config.Commit, commit()),
		Date:        time.Now().UTC().Format(time.DateOnly),
	}
	for _, name := range runtimeSettings {
		if value, set := os.LookupEnv(name); set {
			m.Runtime = append(m.Runtime, name+"="+value)
		}
	}
	return m
}

func (m *Machine) write(w io.Writer) {
	memory := unknown
	if m.MemoryBytes > 0 {
		memory = decimal(float64(m.MemoryBytes)/(1<<30), 0) + " GiB"
	}
	_, _ = fmt.Fprintf(w,
		"%s, %d cores, %s memory, fsync %s ms; %s, %s, Postgres %s; commit %s; %s%s\n",
		m.CPU, m.Cores, memory, decimal(m.FsyncMicros/1000, 2), m.OS, m.Go, m.Postgres, m.Commit,
		m.Date,
		strings.Join(append([]string{""}, m.Runtime...), "; "))
}

func cpuModel() string {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok &&
				strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	if model := sysctl("machdep.cpu.brand_string"); model != "" {
		return model
	}
	return "CPU of unknown model"
}

// memorySize is in bytes; 0 is unknown.
func memorySize() int64 {
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		kilobytes, _ := procField(string(text), "MemTotal")
		return kilobytes << 10
	}
	bytes, _ := strconv.ParseInt(sysctl("hw.memsize"), 10, 64)
	return bytes
}

// sysctl asks macOS.
func sysctl(name string) string {
	value, err := exec.Command("sysctl", "-n", name).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}

// commit is what this program was built from.
func commit() string {
	info, _ := debug.ReadBuildInfo()
	settings := map[string]string{}
	if info != nil {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return unknown
	}
	revision = revision[:min(len(revision), 12)]
	if settings["vcs.modified"] == "true" {
		revision += " with changes"
	}
	return revision
}

// fsyncTime is how long it takes to write a little and have it on the disk: the median
// of some tries. It tells whether the disk is one: in memory it is next to nothing, and
// so would be the price of durability.
func fsyncTime(dir string) (_ time.Duration, err error) {
	path := filepath.Join(dir, "fsync")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("trying the disk: %w", err)
	}
	defer os.Remove(path) //nolint:errcheck // the directory is removed with all that is in it
	defer file.Close()    //nolint:errcheck // every write was synced
	const tries = 50
	took := make([]float64, tries)
	for i := range took {
		began := time.Now()
		if _, err := file.WriteString(strings.Repeat("x", 8<<10)); err != nil {
			return 0, fmt.Errorf("trying the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("trying the disk: %w", err)
		}
		took[i] = float64(time.Since(began))
	}
	return time.Duration(median(took)), nil
}
