// Prints what real Go, and Ollama's template package on top of it, make of templates: one JSON object a line, to be
// compared with what this repository's interpreter makes of the same. See README.md on how to run it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/ollama/ollama/api"
	ollama "github.com/ollama/ollama/template"
	"github.com/ollama/ollama/thinking"
	"github.com/ollama/ollama/tools"
)

// A template of the language alone. All of them are executed on data.json.
type languageCase struct {
	Template string  `json:"template"`
	Output   *string `json:"output,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// A model's template on one of the conversations, with what Ollama reads off the template.
type modelCase struct {
	Template string   `json:"template"`
	Traits   *traits  `json:"traits,omitempty"`
	Results  []string `json:"results"`
	Error    string   `json:"error,omitempty"`
}

type traits struct {
	Vars  []string `json:"vars"`
	Open  string   `json:"open"`
	Close string   `json:"close"`
	Tag   string   `json:"tag"`
}

// What a prompt is made of, as /api/chat and /api/generate are asked for it.
type conversation struct {
	Messages []api.Message `json:"messages"`
	Tools    api.Tools     `json:"tools,omitempty"`
	Think    string        `json:"think,omitempty"`
	Prompt   string        `json:"prompt,omitempty"`
	Suffix   string        `json:"suffix,omitempty"`
}

var functions = template.FuncMap{
	"json":             func(v any) string { b, _ := json.Marshal(v); return string(b) },
	"currentDate":      func(args ...string) string { return "2006-01-02" },
	"yesterdayDate":    func(args ...string) string { return "2006-01-01" },
	"toTypeScriptType": func(v any) string { return "any" },
}

// A writer that stops templates which print without end.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len() > 20000 {
		return 0, fmt.Errorf("too long")
	}
	return b.Buffer.Write(p)
}

func language(text string, data any) languageCase {
	result := languageCase{Template: text}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(text)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	var out bounded
	if err := parsed.Execute(&out, data); err != nil {
		result.Error = err.Error()
		return result
	}
	text = out.String()
	result.Output = &text
	return result
}

func model(text string, conversations []conversation) modelCase {
	result := modelCase{Template: text}
	parsed, err := ollama.Parse(text)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	vars, _ := parsed.Vars()
	open, shut := thinking.InferTags(parsed.Template)
	tag := tools.NewParser(parsed.Template, nil).Tag()
	result.Traits = &traits{vars, open, shut, tag}
	for _, c := range conversations {
		values := ollama.Values{Tools: c.Tools, Prompt: c.Prompt, Suffix: c.Suffix}
		// Executing merges messages in place.
		values.Messages = append(values.Messages, c.Messages...)
		switch c.Think {
		case "":
		case "false":
			values.IsThinkSet = true
		case "true":
			values.Think, values.ThinkLevel, values.IsThinkSet = true, "medium", true
		default:
			values.Think, values.ThinkLevel, values.IsThinkSet = true, c.Think, true
		}
		var out bytes.Buffer
		func() {
			defer func() {
				if failure := recover(); failure != nil {
					result.Results = append(result.Results, "panic")
				}
			}()
			if err := parsed.Execute(&out, values); err != nil {
				result.Results = append(result.Results, "error: "+err.Error())
			} else {
				result.Results = append(result.Results, out.String())
			}
		}()
	}
	return result
}

// Expressions of every type, and some that are none.
var atoms = strings.Split(".s|.e|.n|.f|.big|.small|.neg|.t|.b|.nil|.l|.el|.ls|.m|.em|.u|.missing|.m.a|.m.z|.m.n|.m.m.deep.er|.m.x|.m.x.y|"+
	".s.x|.l.x|.nil.x|.missing.x|.num|.huge|.|$|$.s|nil|true|false|0|1|2|-1|3|1.5|1e3|1e21|0x1F|0b101|017|0o17|1_000|1i|1+2i|'a'|'\\n'|'é'|"+
	"\"q\\t\\\"x\\\"\"|`raw\\n`|\"\"|\"\\xff\"|\"two\"|\"k\"|\"a\"|9223372036854775808|-9223372036854775808|1e400|0x1p-2|1.|.5|1e+2|-0|+5|0.1|1e6|3.0", "|")

var one = strings.Fields("len not print println html js urlquery json and or index slice call toTypeScriptType printf eq lt")
var two = strings.Fields("eq ne lt le gt ge and or index slice print println printf")
var verbs = strings.Fields("v +v #v s q d t T f x X e g c U b o O 5v -5v| 05d +d 8.3f #x #q +q .2s 6.2s % w ! [1]v [2]v *d .1f G E #g +.2e #U .0d 10q z #o #b 08.3f -08d|")

// Every shape of action with every expression.
func systematic(put func(string)) {
	for _, a := range atoms {
		for _, shape := range []string{"{{%s}}", "{{ if %s }}T{{else}}F{{end}}", "{{ with %s }}[{{.}}]{{else}}F{{.s}}{{end}}",
			"{{ range %s }}<{{.}}>{{else}}E{{end}}", "{{ range $i, $x := %s }}<{{$i}}={{$x}}>{{else}}E{{end}}",
			"{{ $v := %s }}{{ $v }}", "{{ (%s).x }}", "{{ %s | printf \"%%v|%%T\" 5 }}"} {
			put(fmt.Sprintf(shape, a))
		}
		for _, f := range one {
			put("{{ " + f + " " + a + " }}")
			put("{{ " + a + " | " + f + " }}")
		}
		for _, v := range verbs {
			put("{{ printf \"%" + v + "\" " + a + " }}")
		}
		for _, f := range two {
			for _, b := range atoms {
				put("{{ " + f + " " + a + " " + b + " }}")
			}
		}
	}
}

// Templates made at random, a fifth of them damaged.
type maker struct{ *rand.Rand }

func (m maker) pick(from ...string) string { return from[m.Intn(len(from))] }

func (m maker) expression(depth int) string {
	if depth <= 0 || m.Intn(3) == 0 {
		return m.pick(atoms...)
	}
	out := m.pick(append(one, two...)...)
	for i := m.Intn(4); i >= 0; i-- {
		argument := m.expression(depth - 1)
		if strings.Contains(argument, " ") {
			argument = "(" + argument + ")"
		}
		out += " " + argument
	}
	if m.Intn(5) == 0 {
		out += " | " + m.pick(one...)
	}
	return out
}

func (m maker) action(text string) string {
	return m.pick("{{ ", "{{- ") + text + m.pick(" }}", " -}}")
}

func (m maker) otherwise(depth int) string {
	return m.pick("", "", m.action("else")+m.body(depth))
}

func (m maker) body(depth int) string {
	variable := func() string { return m.pick("$x", "$y", "$i") }
	name := func() string { return m.pick("A", "B") }
	out := ""
	for i := m.Intn(3); i >= 0; i-- {
		out += m.pick("", " ", "\n", "  \n ") + m.pick("", "text", "a b", "\t", "é") + m.pick("", " ", "\n")
		kind := m.Intn(14)
		if depth <= 0 {
			kind = 0
		}
		switch {
		case kind < 4:
			out += m.action(m.expression(2))
		case kind < 6:
			out += m.action("if "+m.expression(2)) + m.body(depth-1) +
				m.pick("", "", m.action("else if "+m.expression(1))+m.body(depth-1)) + m.otherwise(depth-1) + m.action("end")
		case kind < 8:
			over := m.pick("", "$x := ", "$i, $x := ", "$i, $y := ") + m.pick(".l", ".ls", ".m", ".el", "3", ".m.l", m.expression(1))
			jump := m.pick("", "{{break}}", "{{continue}}", "{{if eq . 1}}{{break}}{{end}}", "{{if .}}{{continue}}{{end}}")
			out += m.action("range "+over) + jump + m.body(depth-1) + m.otherwise(depth-1) + m.action("end")
		case kind < 9:
			out += m.action("with "+m.pick("", "$x := ", "$y := ")+m.expression(1)) + m.body(depth-1) +
				m.pick("", "", m.action("else with "+m.expression(1))+m.body(depth-1)) + m.otherwise(depth-1) + m.action("end")
		case kind < 11:
			out += m.action(variable() + " := " + m.expression(1))
		case kind < 12:
			out += m.action(variable() + " = " + m.expression(1))
		case kind < 13:
			out += "{{define \"" + name() + "\"}}" + m.body(depth-2) + "{{end}}"
		default:
			out += m.action("template \"" + name() + "\" " + m.expression(1))
		}
		out += m.pick("", "", "", "", "{{/* c */}}", m.action(variable()))
	}
	return out
}

func (m maker) template() string {
	out := m.pick("", "{{$x := 1}}{{$y := .s}}{{$i := .l}}") + m.body(3)
	if m.Intn(5) == 0 {
		from := m.Intn(len(out) + 1)
		to := min(from+m.Intn(4), len(out))
		damage := m.pick("", "{{", "}}", "\"", "(", ")", "|", "$", ".", ",", ":=", "-", "end", "'", "`", "\\", "\x01", "€")
		out = strings.ToValidUTF8(out[:from]+damage+out[to:], "?")
	}
	return out
}

func main() {
	random := flag.Int("random", 0, "how many templates to make at random")
	keep := flag.Int("keep", 1, "print only one of so many cases of the language")
	models := flag.String("models", "", "print what the templates in this folder, or in this list of strings in JSON, make of conversations.json")
	folder := flag.String("data", ".", "where data.json and conversations.json are")
	flag.Parse()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)

	read := func(name string, into any) {
		text, err := os.ReadFile(filepath.Join(*folder, name))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			panic(err)
		}
	}
	if *models != "" {
		var conversations []conversation
		read("conversations.json", &conversations)
		var texts []string
		if strings.HasSuffix(*models, ".json") {
			read(*models, &texts)
		} else {
			names, _ := filepath.Glob(filepath.Join(*models, "*.gotmpl"))
			for _, name := range names {
				text, _ := os.ReadFile(name)
				texts = append(texts, string(text))
			}
		}
		for _, text := range texts {
			encoder.Encode(model(text, conversations))
		}
		return
	}

	var data any
	read("data.json", &data)
	seen := map[string]bool{}
	count := 0
	put := func(text string) {
		if seen[text] {
			return
		}
		seen[text] = true
		count++
		if count%*keep != 0 {
			return
		}
		result := language(text, data)
		if result.Error != "too long" {
			encoder.Encode(result)
		}
	}
	systematic(put)
	m := maker{rand.New(rand.NewSource(1))}
	for range *random {
		put(m.template())
	}
}
