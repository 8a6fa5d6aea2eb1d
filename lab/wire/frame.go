package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// headerSize is a message's type byte and its length, which counts itself but not the
// type byte.
const headerSize = 5

// bufferSize holds most messages whole, so that they are looked at in place.
const bufferSize = 64 << 10

// startupSizeMax is what Postgres allows a startup packet (MAX_STARTUP_PACKET_LENGTH).
const startupSizeMax = 10_000

// The first packet of a connection has no type byte; a code says what it is.
const (
	codeCancelRequest = 80877102
	codeSSLRequest    = 80877103
	codeGSSEncRequest = 80877104
)

// frameReader reads whole protocol messages and leaves them in the form they came in.
type frameReader struct{ *bufio.Reader }

func newFrameReader(r io.Reader) frameReader {
	return frameReader{bufio.NewReaderSize(r, bufferSize)}
}

// header says what comes next, and its size with the header, without consuming it.
func (r frameReader) header() (kind byte, size int, err error) {
	header, err := r.Peek(headerSize)
	if err != nil {
		return 0, 0, fmt.Errorf("reading message header: %w", err)
	}
	size = 1 + int(binary.BigEndian.Uint32(header[1:]))
	if size < headerSize {
		return 0, 0, fmt.Errorf("message %q of %d bytes", header[0], size)
	}
	return header[0], size, nil
}

// take consumes a message of that size. The slice is good until the next read.
func (r frameReader) take(size int) ([]byte, error) {
	if size > r.Size() {
		frame := make([]byte, size)
		if _, err := io.ReadFull(r, frame); err != nil {
			return nil, fmt.Errorf("reading message: %w", err)
		}
		return frame, nil
	}
	frame, err := r.Peek(size)
	if err != nil {
		return nil, fmt.Errorf("reading message: %w", err)
	}
	_, _ = r.Discard(size) // the bytes stay where they are until the next read
	return frame, nil
}

// stream copies a message of that size without ever holding all of it.
func (r frameReader) stream(w io.Writer, size int) error {
	if size > r.Size() {
		if _, err := io.CopyN(w, r, int64(size)); err != nil {
			return fmt.Errorf("streaming message: %w", err)
		}
		return nil
	}
	frame, err := r.take(size)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// startup consumes the first packet of a connection, or one that may precede it.
func (r frameReader) startup() (code uint32, packet []byte, err error) {
	head, err := r.Peek(8)
	if err != nil {
		return 0, nil, fmt.Errorf("reading startup packet: %w", err)
	}
	size := int(binary.BigEndian.Uint32(head))
	if size < 8 || size > startupSizeMax {
		return 0, nil, fmt.Errorf("startup packet of %d bytes", size)
	}
	packet, err = r.take(size)
	if err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint32(packet[4:]), packet, nil
}

// encode panics where pgproto3 refuses a message, which it does only for one above a
// gigabyte.
func encode(messages ...pgproto3.Message) []byte {
	var out []byte
	for _, message := range messages {
		var err error
		if out, err = message.Encode(out); err != nil {
			panic(fmt.Sprintf("wire: encoding %T: %v", message, err))
		}
	}
	return out
}

func errorResponse(severity, code, message string) []byte {
	return encode(&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: code, Message: message,
	})
}
