package payments

import "context"

// Trace is called before a batch is committed, with the contexts of the requests that
// it carries. The returned context takes the place of the transaction's own. The
// returned function is called at the end.
type Trace func(ctx context.Context, requests []context.Context) (context.Context, func(error))

type commit func(context.Context, []*operation) error

// traced is the commit, traced if tracing is on.
func traced(trace Trace, next commit) commit {
	if trace == nil {
		return next
	}
	return func(ctx context.Context, operations []*operation) (err error) {
		requests := make([]context.Context, 0, len(operations))
		for _, op := range operations {
			requests = append(requests, op.trace)
		}
		ctx, end := trace(ctx, requests)
		defer func() { end(err) }()
		return next(ctx, operations)
	}
}
