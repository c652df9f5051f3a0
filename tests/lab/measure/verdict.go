package measure

import "fmt"

// verdict is about the claim: a rolling update of the manifest as people write it
// loses requests, and with gapless it loses none.
type verdict struct {
	// invalid counts the runs that say nothing, of all variants.
	invalid int
	// without and with are the valid runs of the pair.
	without, with []Record
}

func judge(records []Record) verdict {
	var verdict verdict
	for _, record := range records {
		switch {
		case !record.Valid:
			verdict.invalid++
		case record.Variant == withoutGapless:
			verdict.without = append(verdict.without, record)
		case record.Variant == withGapless:
			verdict.with = append(verdict.with, record)
		}
	}
	return verdict
}

// lossless counts the runs that lost no request.
func lossless(records []Record) int {
	count := 0
	for _, record := range records {
		if record.Failed == 0 {
			count++
		}
	}
	return count
}

func (v verdict) isRefuted() bool {
	return lossless(v.without) > 0 || lossless(v.with) < len(v.with)
}

func (v verdict) exitCode() int {
	switch {
	case v.invalid > 0:
		return unusable
	case v.isRefuted():
		return claimFails
	default:
		return claimHolds
	}
}

func (v verdict) String() string {
	without := fmt.Sprintf("Without gapless, %d of %d rolling updates of the manifest as people write it\nlost requests",
		len(v.without)-lossless(v.without), len(v.without))
	if lossless(v.without) < len(v.without) {
		without += fmt.Sprintf(" (%s of %s requests each)", spread(v.without, lost), spread(v.without, sent))
	}
	with := fmt.Sprintf("With it, %d of %d did (%s of %s requests in all).",
		len(v.with)-lossless(v.with), len(v.with), thousands(sum(v.with, lost)), thousands(sum(v.with, sent)))

	var text string
	switch {
	case len(v.without) == 0 || len(v.with) == 0:
		text = "The claim was not tried: that takes valid runs of both `without` and `with`."
	case v.isRefuted():
		text = fmt.Sprintf("**The claim does not hold.** %s. %s", without, with)
	default:
		text = fmt.Sprintf("**The claim holds.** %s. %s", without, with)
	}
	if v.invalid > 0 {
		text += fmt.Sprintf("\nInvalid runs, which are left out and have to be made again: %d.", v.invalid)
	}
	return text
}
