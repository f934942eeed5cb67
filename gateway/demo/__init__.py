"""The main job: questions about Python, answered from the language reference by models on this machine."""
