package measure

import (
	"bytes"
	"encoding/xml"
	"io"
	"reflect"
	"strings"
	"testing"

	"gapless.dev/tests/lab/load"
)

// lossy is a run that lost that many requests, from half a second on.
func lossy(variant string, run, lost int) Record {
	record := Record{
		Variant: variant, Run: run, Kubernetes: "v1.37.2", Load: load.NewConnections, Valid: true, InvalidReasons: []string{},
		Sent: 1400 + run, Failed: lost, Kinds: map[load.Kind]int{}, RolloutSeconds: float64(run), SettledSeconds: 5,
		Rate: 60, Capacity: 600, LoadStart: -10, LoadEnd: 15, SentBySecond: []int{60}, Failures: []Failure{},
	}
	if lost > 0 {
		record.Kinds[load.ClosedEarly], record.Kinds[load.ConnectionRefused] = 1, lost-1
		record.OutageSeconds = float64(lost) / 60
	}
	for n := range lost {
		kind := load.ConnectionRefused
		if n == 0 {
			kind = load.ClosedEarly
		}
		record.Failures = append(record.Failures, Failure{round(0.5 + float64(n)/60), kind})
	}
	return record
}

func invalid(variant string, run int, reason string) Record {
	record := lossy(variant, run, 3)
	record.Valid, record.InvalidReasons = false, []string{reason}
	return record
}

func TestTheTable(t *testing.T) {
	records := []Record{
		lossy("without", 1, 180), lossy("without", 2, 197), lossy("without", 3, 191), lossy("without", 4, 203),
		lossy("one-replica", 1, 7), lossy("one-replica", 2, 9), lossy("one-replica", 3, 8),
		lossy("with", 1, 0), lossy("with", 2, 0),
		lossy("recreate", 1, 1200), invalid("recreate", 2, "the generator was asleep"),
	}
	expected := "" +
		"| variant | what it is | runs | sent per run | lost per run | kinds | longest outage | roll-out |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- |\n" +
		"| `without` | image and port, nothing else | 4 | 1,401–1,404 | 180–203 | 767 connection-refused, 4 closed-early | 3.38 s | 2.5 s |\n" +
		"| `with` | the same bytes, with gapless | 2 | 1,401–1,402 | 0, 0 | – | – | 1.5 s |\n" +
		"| `recreate` | strategy Recreate (gapless denies it) | 1 (and 1 invalid) | 1,401 | 1,200 | 1,199 connection-refused, 1 closed-early | 20.00 s | 1.0 s |\n" +
		"| `one-replica` | 1 replica | 3 | 1,401–1,403 | 7, 9, 8 | 21 connection-refused, 3 closed-early | 0.15 s | 2.0 s |\n" +
		"\n" +
		"**The claim holds.** Without gapless, 4 of 4 rolling updates of the manifest as people write it\n" +
		"lost requests (180–203 of 1,401–1,404 requests each). With it, 0 of 2 did (0 of 2,803 requests in all).\n" +
		"Invalid runs, which are left out and have to be made again: 1.\n" +
		"\n" +
		"Invalid: `recreate`, run 2: the generator was asleep.\n"
	if text := table(records); text != expected {
		t.Errorf("%s\ninstead of\n%s", text, expected)
	}
}

func TestTheVerdict(t *testing.T) {
	for name, test := range map[string]struct {
		records []Record
		code    int
		text    string
	}{
		"it holds":                  {[]Record{lossy("without", 1, 5), lossy("with", 1, 0)}, claimHolds, "**The claim holds.**"},
		"a loss with gapless":       {[]Record{lossy("without", 1, 5), lossy("with", 1, 0), lossy("with", 2, 1)}, claimFails, "1 of 2 did (1 of 2,803"},
		"no loss without":           {[]Record{lossy("without", 1, 5), lossy("without", 2, 0), lossy("with", 1, 0)}, claimFails, "1 of 2 rolling updates"},
		"no loss without at all":    {[]Record{lossy("without", 1, 0), lossy("with", 1, 0)}, claimFails, "**The claim does not hold.** Without gapless, 0 of 1 rolling updates"},
		"only with, no loss":        {[]Record{lossy("with", 1, 0)}, claimHolds, "The claim was not tried"},
		"only with, a loss":         {[]Record{lossy("with", 1, 2)}, claimFails, "The claim was not tried"},
		"another variant may lose":  {[]Record{lossy("with-keep-alive", 1, 2)}, claimHolds, "The claim was not tried"},
		"an invalid run":            {[]Record{lossy("without", 1, 5), lossy("with", 1, 0), invalid("with", 2, "x")}, unusable, "again: 1."},
		"an invalid run and a loss": {[]Record{lossy("with", 1, 1), invalid("recreate", 2, "x")}, unusable, "again: 1."},
	} {
		verdict := judge(test.records)
		if verdict.exitCode() != test.code || !strings.Contains(verdict.String(), test.text) {
			t.Errorf("%s: exit code %d\n%v", name, verdict.exitCode(), verdict)
		}
	}
}

func TestRecordsSurviveTheFile(t *testing.T) {
	records := []Record{lossy("without", 1, 3), invalid("with", 2, `"odd" | reason`)}
	var file bytes.Buffer
	for _, record := range records {
		if err := writeLine(&file, record); err != nil {
			t.Fatal(err)
		}
	}
	text := file.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, `"failures":[[0.5,"closed-early"],[0.517,"connection-refused"],`) {
		t.Errorf("%s", text)
	}
	again, err := readRecords(&file)
	if err != nil || !reflect.DeepEqual(again, records) {
		t.Errorf("%v\n%+v\ninstead of\n%+v", err, again, records)
	}
}

func TestAFileThatIsNotOfRecordsIsAnError(t *testing.T) {
	for text, expected := range map[string]string{
		`{"variant": "without"` + "}\n" + `{"variant": "nonsense"}`: `run 2 of the file: there is no variant "nonsense"`,
		`{"variant": "without", "lots": 3}`:                         "run 1 of the file",
		`{"variant": "without", "failures": [[1]]}`:                 "a failure is [seconds, kind], not [1]",
		`| variant |`: "run 1 of the file",
	} {
		if _, err := readRecords(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestThePictureHasAStrokeForEachLossAndARowForEachRun(t *testing.T) {
	without, with := lossy("without", 1, 180), lossy("with", 1, 0)
	without.Failures[7].Kind = load.ResponseTimeout
	without.Kinds[load.ResponseTimeout] = 1
	without.Kubernetes = "v1.37.2 <&>"
	records := []Record{without, lossy("without", 2, 20), with, lossy("with", 2, 0), invalid("with", 3, "x"), lossy("recreate", 1, 9)}
	svg, err := picture(records)
	if err != nil {
		t.Fatal(err)
	}
	strokes, rows, texts := 0, 0, ""
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.CharData:
			texts += string(token) + "\n"
		case xml.StartElement:
			attributes := map[string]string{}
			for _, attribute := range token.Attr {
				attributes[attribute.Name.Local] = attribute.Value
			}
			// The legend's marks are three strokes in relative steps.
			if !strings.Contains(attributes["d"], "m3 0") {
				strokes += strings.Count(attributes["d"], "v10")
			}
			if attributes["class"] == "done" {
				rows++
			}
			if token.Name.Local == "script" || attributes["href"] != "" {
				t.Errorf("it is not self-contained: %v", token)
			}
		}
	}
	// The legend shows the mark of a row, too.
	if strokes != 200 || rows != 4+1 {
		t.Errorf("%d strokes, %d rows", strokes, rows)
	}
	for _, expected := range []string{"180 of 1,401 lost", "0 of 1,402 lost", "no answer in time", "−10", "v1.37.2 <&>"} {
		if !strings.Contains(texts, expected) {
			t.Errorf("%q is not in\n%s", expected, texts)
		}
	}
	if strings.Contains(texts, "wrong answer") {
		t.Error("the legend explains what does not occur")
	}
	if again, _ := picture(records); again != svg {
		t.Error("the same records give another picture")
	}
}

func TestAPictureOfHalfAPairIsAnError(t *testing.T) {
	if _, err := picture([]Record{lossy("without", 1, 3), invalid("with", 1, "x")}); err == nil {
		t.Error("it is not")
	}
}
