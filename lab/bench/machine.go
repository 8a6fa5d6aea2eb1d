package bench

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/procfs"
)

// Machine is the machine, the versions and the date of a run.
type Machine struct {
	CPU         string  `json:"cpu"`
	Cores       int     `json:"cores"`
	MemoryBytes uint64  `json:"memory_bytes,omitzero"`
	FsyncMicros float64 `json:"fsync_us"` // a small write and its fsync, beside the data
	OS          string  `json:"os"`
	Go          string  `json:"go"`
	Postgres    string  `json:"postgres"`
	Commit      string  `json:"commit"`
	Date        string  `json:"date"`
}

func (s *site) machine() (Machine, error) {
	fsync, err := fsyncMicros(s.dir)
	build, _ := debug.ReadBuildInfo()
	return Machine{
		CPU:         cpuModel(),
		Cores:       runtime.NumCPU(),
		MemoryBytes: memorySize(),
		FsyncMicros: fsync,
		OS:          runtime.GOOS + "/" + runtime.GOARCH,
		Go:          runtime.Version(),
		Postgres:    s.binaries.Version(),
		Commit:      cmp.Or(s.config.Commit, build.Main.Version),
		Date:        time.Now().UTC().Format(time.DateOnly),
	}, err
}

func (m Machine) String() string {
	memory := unknown
	if m.MemoryBytes > 0 {
		memory = fmt.Sprintf("%.0f GiB", float64(m.MemoryBytes)/(1<<30))
	}
	return fmt.Sprintf("%s, %d cores, %s memory, fsync %.2f ms; "+
		"%s, %s, Postgres %s; commit %s; %s", m.CPU, m.Cores, memory, m.FsyncMicros/1000,
		m.OS, m.Go, m.Postgres, m.Commit, m.Date)
}

var modelName = regexp.MustCompile(`model name\s*: (.+)`)

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	if match := modelName.FindSubmatch(text); match != nil {
		return string(match[1])
	}
	return "CPU of unknown model"
}

// memorySize is in bytes; 0: unknown.
func memorySize() uint64 {
	proc, _ := procfs.NewDefaultFS()
	memory, err := proc.Meminfo()
	if err != nil || memory.MemTotalBytes == nil {
		return 0
	}
	return *memory.MemTotalBytes
}

// fsyncMicros is the median time of a small write and its fsync. In a directory that
// lies in memory it is nearly 0, and so is the price of durability.
func fsyncMicros(dir string) (float64, error) {
	file, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, fmt.Errorf("trying the disk: %w", err)
	}
	defer file.Close() //nolint:errcheck // every write was synced
	page := make([]byte, 8<<10)
	const tries = 50
	took := make([]float64, tries)
	for i := range took {
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0, fmt.Errorf("trying the disk: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("trying the disk: %w", err)
		}
		took[i] = float64(time.Since(began).Microseconds())
	}
	return median(took), nil
}
