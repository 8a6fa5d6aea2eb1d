package simulator

import (
	"errors"
	"slices"
)

// Faults of payment methods and of metadata. Metadata of an intent chooses the fault of a
// step: sim_create, sim_confirm, sim_capture, sim_cancel, sim_refund. That of a refund
// chooses its own. Each happens once.

var faultsBefore = []fault{
	fault500Before, faultResetBefore, fault429, fault409, faultHang,
}

var faultsAfter = []fault{
	faultHold, fault500After, faultResetAfter, faultSlow, faultDrip, faultGarbage, faultHuge,
}

// planFault puts the fault of the request's intent into the plan, if it has not happened.
func (s *Server) planFault(c *call) error {
	var chosen fault
	var place string
	err := s.books.view(func(e *entry) (err error) {
		chosen, place, err = chosenFault(e, c)
		return err
	})
	if err != nil || chosen == faultNone {
		return err
	}
	first, err := s.markFault(place)
	if err != nil || !first {
		return err
	}
	switch {
	case slices.Contains(faultsBefore, chosen):
		c.plan.before = chosen
	case slices.Contains(faultsAfter, chosen):
		c.plan.after = chosen
	default:
		return invalid("metadata[sim_"+string(c.step)+"]", "", "There is no fault %s.", chosen)
	}
	return nil
}

// markFault records that the fault of a place happens. It returns false if it has before.
func (s *Server) markFault(place string) (first bool, err error) {
	_, err = s.books.update(func(e *entry) error {
		happened, err := get[bool](e, bucketFaults, place)
		if err != nil && !errors.Is(err, errMissing) {
			return err
		}
		first = !happened
		return put(e, bucketFaults, place, true)
	})
	return first, err
}

// chosenFault finds the fault of a request, and the place where it happens only once: a
// step of an intent, or the key of a request that creates one.
func chosenFault(e *entry, c *call) (chosen fault, place string, err error) {
	name := "sim_" + string(c.step)
	named := fault(c.params.text("metadata[" + name + "]"))
	id := c.id
	switch c.step {
	case StepCreate:
		if named == faultNone && c.params.flag("confirm") {
			named = cards[c.params.text("payment_method")].fault
		}
		return named, name + " " + c.key, nil
	case StepRefund:
		id = c.params.text("payment_intent")
	case StepRetrieve, StepList:
		return faultNone, "", nil
	case StepConfirm, StepCapture, StepCancel:
	}
	i, err := get[intent](e, bucketIntents, id)
	if errors.Is(err, errMissing) {
		return faultNone, "", nil // the operation refuses it
	}
	if err != nil {
		return faultNone, "", err
	}
	if named == faultNone {
		named = fault(i.Metadata[name])
	}
	if named == faultNone && c.step == StepConfirm {
		method := i.PaymentMethod
		if chosen := c.params.text("payment_method"); chosen != "" {
			method = chosen
		}
		named = cards[method].fault
	}
	return named, name + " " + id, nil
}
