package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

const modeline = "# yaml-language-server: $schema=schema.json\n"

// schema returns the JSON schema of a file of the spec. Only tests and editors use it: Load has the same rules from the
// same tags.
func schema() *jsonschema.Schema {
	one := uint64(1)
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true, // which no field has: complete adds what spec tags say
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			switch {
			case t == intType:
				return &jsonschema.Schema{Type: "integer", Minimum: "0"}
			case t.Kind() == reflect.String:
				return &jsonschema.Schema{Type: "string", MinLength: &one}
			case reflect.PointerTo(t).Implements(perPlatformType):
				value := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string", MinLength: &one} }
				if t == reflect.TypeFor[PerPlatform[Int]]() {
					value = func() *jsonschema.Schema { return &jsonschema.Schema{Type: "integer", Minimum: "0"} }
				}
				return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
					value(),
					{Type: "object", AdditionalProperties: value(), MinProperties: &one},
				}}
			}
			return nil
		},
	}
	s := r.Reflect(&Document{})
	s.Title = "Description of PC/SC"
	complete(s, s, reflect.TypeFor[Document](), make(map[reflect.Type]bool))
	return s
}

// complete adds what the tags of a schema type say to its definition, and to those of the types in it.
func complete(root, s *jsonschema.Schema, t reflect.Type, done map[reflect.Type]bool) {
	if done[t] {
		return
	}
	done[t] = true
	for _, f := range fieldsOf(t) {
		p, ok := s.Properties.Get(f.key)
		if !ok {
			panic(fmt.Sprintf("%s: %s is not in the schema", t, f.key))
		}
		p.Description = f.doc
		if f.required {
			s.Required = append(s.Required, f.key)
		}
		if p.Type == "array" {
			one := uint64(1)
			p.MinItems = &one
		}
		if t.Field(f.index).Type == reflect.TypeFor[*string]() {
			p.MinLength = nil // it can be empty, as Load says
		}
		for _, e := range f.enum {
			for _, x := range append([]*jsonschema.Schema{p}, p.OneOf...) {
				if x.AdditionalProperties != nil {
					x = x.AdditionalProperties
				}
				if x.Type == "string" {
					x.Enum, x.MinLength = append(x.Enum, e), nil
				}
			}
		}
		inner := t.Field(f.index).Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if def, ok := root.Definitions[inner.Name()]; ok {
			complete(root, def, inner, done)
		}
	}
}

func schemaJSON(t *testing.T) []byte {
	data, err := json.MarshalIndent(schema(), "", "  ")
	require.NoError(t, err)
	return append(data, '\n')
}

func TestSchema(t *testing.T) {
	want := schemaJSON(t)
	if *update {
		require.NoError(t, os.WriteFile("schema.json", want, 0o644))
	}
	got, err := os.ReadFile("schema.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "schema.json is out of date: go test ./spec -run Schema -update")
}

// The files of the spec tell editors of the schema, and are what it says.
func TestSchemaHolds(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var root map[string]any
	require.NoError(t, json.Unmarshal(schemaJSON(t), &root))
	for _, name := range append(files, "testdata/good/base.yaml") {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		if !strings.Contains(name, "/") {
			require.True(t, bytes.HasPrefix(data, []byte(modeline)), "%s does not begin with %q", name, modeline)
		}
		var value any
		require.NoError(t, yaml.Unmarshal(data, &value), name)
		require.Empty(t, violations(root, root, value, name))
	}
}

// The schema refuses what Load refuses because of a tag.
func TestSchemaRefuses(t *testing.T) {
	var root map[string]any
	require.NoError(t, json.Unmarshal(schemaJSON(t), &root))
	for _, name := range []string{
		"key", "type_text", "type_version", "type_bool", "type_int", "int", "null", "missing", "empty", "empty_required",
		"enum", "document_list", "document_empty",
	} {
		data, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		require.NoError(t, err)
		var value any
		_ = yaml.Unmarshal(data, &value)
		require.NotEmpty(t, violations(root, root, value, name))
	}
}

// violations is as much of a JSON schema validator as our schema needs.
func violations(root, s map[string]any, value any, path string) (all []string) {
	fail := func(format string, args ...any) {
		all = append(all, path+": "+fmt.Sprintf(format, args...))
	}
	for key, rule := range s {
		switch key {
		case "$ref":
			def := root["$defs"].(map[string]any)[strings.TrimPrefix(rule.(string), "#/$defs/")]
			all = append(all, violations(root, def.(map[string]any), value, path)...)
		case "oneOf":
			matches := 0
			for _, x := range rule.([]any) {
				if violations(root, x.(map[string]any), value, path) == nil {
					matches++
				}
			}
			if matches != 1 {
				fail("matches %d of oneOf", matches)
			}
		case "type":
			if got := jsonType(value); got != rule {
				fail("%s is not %s", got, rule)
			}
		case "enum":
			if !slices.Contains(rule.([]any), value) {
				fail("%v is not one of %v", value, rule)
			}
		case "minLength":
			if text, ok := value.(string); ok && text == "" {
				fail("is empty")
			}
		case "minimum":
			if reflect.ValueOf(value).CanInt() && reflect.ValueOf(value).Int() < 0 {
				fail("is negative")
			}
		case "minItems":
			if list, ok := value.([]any); ok && len(list) == 0 {
				fail("is empty")
			}
		case "minProperties":
			if object, ok := value.(map[string]any); ok && len(object) == 0 {
				fail("is empty")
			}
		case "items":
			list, _ := value.([]any)
			for i, x := range list {
				all = append(all, violations(root, rule.(map[string]any), x, element(path, i))...)
			}
		case "required":
			object, _ := value.(map[string]any)
			for _, x := range rule.([]any) {
				if _, ok := object[x.(string)]; !ok {
					fail("no %s", x)
				}
			}
		case "properties", "additionalProperties":
			if key == "additionalProperties" && s["properties"] != nil && rule != false {
				panic("a schema with properties has to be closed")
			}
			properties, _ := s["properties"].(map[string]any)
			object, _ := value.(map[string]any)
			for k, x := range object {
				known, ok := properties[k]
				switch {
				case ok && key == "properties":
					all = append(all, violations(root, known.(map[string]any), x, path+"."+k)...)
				case !ok && key == "additionalProperties" && rule == false:
					fail("%s is not known", k)
				case !ok && key == "additionalProperties":
					all = append(all, violations(root, rule.(map[string]any), x, path+"."+k)...)
				}
			}
		case "$schema", "$defs", "title", "description":
		default:
			panic("rule " + key + " of the schema is not checked")
		}
	}
	return all
}

func jsonType(value any) string {
	switch v := reflect.ValueOf(value); {
	case !v.IsValid():
		return "null"
	case v.CanInt() || v.CanUint():
		return "integer"
	case v.Kind() == reflect.Map:
		return "object"
	case v.Kind() == reflect.Slice:
		return "array"
	case v.Kind() == reflect.Bool:
		return "boolean"
	default:
		return v.Kind().String() // string, or float64, which nothing in the schema is
	}
}
