/* For the targets that read YAML: libfyaml 0.7.12 forgets some memory of its own where it refuses a text; tokenctl reads one file and ends. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}
