"""Names of transformers, TRL, PEFT, Axolotl, LLaMA-Factory and Unsloth for what has another name here, or none."""

KEYS = (  # our key, what it means, and what others call it
    ("train.lr", "the highest learning rate", "learning_rate max_lr base_lr"),
    (
        "train.epochs",
        "passes over the training rows; 0.5 is half of one",
        "num_train_epochs num_epochs max_epochs n_epochs",
    ),
    (
        "train.batch_size",
        "rows of an optimiser step, over all forward passes and processes",
        "per_device_train_batch_size per_gpu_train_batch_size train_batch_size micro_batch_size "
        "global_batch_size effective_batch_size",
    ),
    (
        "train.micro_batch_tokens",
        "tokens of a forward pass; train.batch_size is the rows of an optimiser step, however many passes they take",
        "gradient_accumulation_steps gradient_accumulation grad_accum auto_find_batch_size",
    ),
    ("train.warmup", "the share of the steps in which the rate rises", "warmup_ratio warmup_steps lr_warmup_steps"),
    (
        "train.schedule",
        "linear, cosine, constant, constant_with_warmup or wsd",
        "lr_scheduler_type lr_scheduler scheduler",
    ),
    (
        "train.decay",
        "the share of the steps in which the rate falls; wsd alone reads it",
        "lr_scheduler_kwargs decay_ratio",
    ),
    (
        "train.precision",
        "fp32, bf16 or fp16; null: what the device is made for",
        "bf16 fp16 pure_bf16 torch_dtype dtype mixed_precision bnb_4bit_compute_dtype",
    ),
    (
        "train.gradient_checkpointing",
        "activations computed twice: less memory, more time",
        "use_gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing",
    ),
    ("train.compile", "torch.compile", "torch_compile torch_compile_backend"),
    (
        "train.packing",
        "rows of a forward pass end to end, without padding; none sees another",
        "sample_packing padding_free group_by_length pad_to_sequence_len neat_packing",
    ),
    (
        "train.patience",
        "epochs without a better validation loss before the end, and the best weights kept",
        "early_stopping_patience early_stopping load_best_model_at_end metric_for_best_model greater_is_better",
    ),
    ("train.report_to", "a list of wandb, mlflow, tensorboard and comet", "logger wandb_project use_wandb wandb"),
    (
        "data.max_tokens",
        "tokens of a row, template included",
        "max_seq_length max_seq_len max_length model_max_length cutoff_len sequence_len max_prompt_length "
        "max_completion_length context_length seq_length block_size",
    ),
    (
        "data.sources",
        "a list of files of rows: data=files 'data.sources=[{path: some/file.csv}]'",
        "dataset_name dataset dataset_path dataset_dir dataset_id datasets train_file data_path data_files",
    ),
    (
        "data.sources[].split",
        "train, val or test for all rows of a file",
        "dataset_train_split dataset_test_split validation_file eval_file test_file",
    ),
    (
        "data.sources[].fields",
        "our name of each column, then the file's",
        "dataset_text_field text_column prompt_column response_column field_messages columns",
    ),
    ("data.val_fraction", "the share of the questions that go to val", "val_set_size val_size validation_split"),
    ("data.train_fraction", "the share of the training rows that is learned from", "max_samples max_train_samples"),
    (
        "data.policies.overlong",
        "what becomes of a row of more than data.max_tokens: drop, cut at a turn, or fail",
        "truncation_mode truncation truncation_side",
    ),
    ("data.test_fraction", "the share of the questions that go to test", "test_size test_split_ratio"),
    ("data.sources[].shape", "the format of the rows, null: recognised", "type format formatting dataset_type ds_type"),
    (
        "data.workers",
        "processes that prepare rows; null: one per core",
        "dataset_num_proc preprocessing_num_workers dataset_processes num_proc dataloader_num_workers num_workers",
    ),
    (
        "model.hub",
        "a repository on the Hub, with model=hub; model=folder and model.folder are for a local one",
        "model_name_or_path model_name model_id base_model pretrained_model_name_or_path pretrained_model "
        "base_model_name",
    ),
    ("model.revision", "commit, tag or branch of model.hub", "model_revision revision"),
    (
        "template.jinja",
        "a chat template, null for the model's own; template=chatml and others are presets",
        "chat_template chat_template_path chat_template_jinja conversation_template prompt_template template_name",
    ),
    (
        "method.adapter",
        "null trains every weight; method=lora, dora, qlora, full and others are presets",
        "use_peft peft peft_config peft_type lora lora_config use_lora finetuning_type full_finetuning tuning_type",
    ),
    ("method.adapter.rank", "the rank of the adapter's matrices", "lora_r lora_rank r peft_lora_r"),
    ("method.adapter.alpha", "the adapter's outcome is scaled by alpha / rank", "lora_alpha peft_lora_alpha"),
    (
        "method.adapter.dropout",
        "the share of the adapter's inputs left out in training",
        "lora_dropout peft_lora_dropout",
    ),
    (
        "method.adapter.layers",
        "the ends of the names of the layers; null: all linear layers but the head",
        "target_modules lora_target_modules lora_target lora_target_linear lora_modules target_layers",
    ),
    ("method.adapter.init", "zero or pissa", "init_lora_weights pissa_init lora_init"),
    ("method.adapter.dora", "size and direction of the weights learned apart", "use_dora lora_use_dora peft_use_dora"),
    ("method.adapter.rslora", "scaled by alpha / sqrt(rank)", "use_rslora lora_use_rslora"),
    (
        "method.init_adapter",
        "the commit or tag of an earlier adapter, which is trained further",
        "adapter_name_or_path lora_model_dir adapter_path lora_weights",
    ),
    (
        "method.base_bits",
        "4 for a frozen base in NF4 while an adapter learns, as method=qlora sets it",
        "load_in_4bit load_in_8bit quantization quantization_bit quantization_config bnb_4bit_quant_type "
        "bnb_4bit_use_double_quant",
    ),
    (
        "method.preference.beta",
        "the smaller, the further the model may go from where it began; method=dpo sets it",
        "beta pref_beta dpo_beta kto_beta orpo_beta orpo_alpha",
    ),
    (
        "method.preference.loss",
        "sigmoid (DPO), ipo, orpo or kto; method=dpo and others set it",
        "simpo_gamma cpo_alpha loss_type pref_loss dpo_loss rl rlhf stage trainer_type",
    ),
    (
        "launch.processes",
        "processes that train together; launch=ddp and launch=fsdp set it",
        "num_processes nproc_per_node world_size num_gpus n_gpu gpus devices num_devices tensor_parallel_size",
    ),
    (
        "launch.shard",
        "weights, gradients and optimiser spread over the processes; launch=fsdp sets it",
        "fsdp fsdp_config deepspeed zero_stage strategy distributed_type",
    ),
    (
        "evaluate.batch_size",
        "prompts that are answered together",
        "per_device_eval_batch_size per_gpu_eval_batch_size eval_batch_size",
    ),
    ("evaluate.max_rows", "test rows that are answered, the first ones", "max_eval_samples eval_samples"),
    ("evaluate.max_new_tokens", "the longest reply", "generation_max_length max_generated_tokens"),
    ("seed", "decides on every split and every training", "random_seed data_seed random_state"),
)


ABSENT = (  # how it is here instead, and what others call it
    (
        "outputs have fixed places, models/adapter, models/merged and models/onnx",
        "output_dir overwrite_output_dir save_path",
    ),
    (
        "checkpoints are written and resumed by themselves",
        "save_steps save_strategy save_total_limit saves_per_epoch resume_from_checkpoint save_only_model "
        "save_safetensors",
    ),
    ("train.epochs says how long a training is", "max_steps max_iters total_steps"),
    (
        "the loss is written at every step, the validation loss after every epoch",
        "logging_steps logging_strategy logging_dir log_level eval_steps eval_strategy evaluation_strategy "
        "evals_per_epoch do_eval do_train do_predict disable_tqdm plot_loss logging_first_step",
    ),
    (
        "the optimiser is AdamW with gradients clipped at 1",
        "optim optimizer optim_args adam_beta1 adam_beta2 adam_epsilon max_grad_norm gradient_clipping grad_clip",
    ),
    (
        "only replies are learned, whatever the template",
        "train_on_inputs train_on_prompt assistant_only_loss completion_only_loss train_on_responses_only "
        "mask_history response_template instruction_template roles_to_train train_on_eos",
    ),
    (
        "the loss is that of the labels alone, without smoothing, noise or auxiliary terms",
        "label_smoothing label_smoothing_factor neftune_noise_alpha neft_alpha router_aux_loss_coef",
    ),
    (
        "evaluate takes the likeliest token each time; chat and serve have options of their own for sampling",
        "temperature top_p top_k min_p typical_p do_sample num_beams num_return_sequences length_penalty "
        "repetition_penalty no_repeat_ngram_size predict_with_generate generation_config",
    ),
    (
        "the rate falls to 0, with train.schedule=linear, cosine and wsd",
        "min_lr min_lr_ratio min_lr_rate cosine_min_lr_ratio lr_end num_cycles lr_scheduler_min_lr",
    ),
    (
        "replies are compared with those of the model before training, or with none, as the loss wants it",
        "ref_model ref_model_name_or_path reference_model reference_model_name_or_path reference_free "
        "precompute_ref_log_probs sync_ref_model",
    ),
    ("a system prompt stands in the rows", "system_prompt default_system default_system_message system_message"),
    (
        "the token and the cache of the Hub are those of huggingface_hub: HF_TOKEN, HF_HOME, and HF_HUB_OFFLINE=1",
        "token hf_token use_auth_token cache_dir local_files_only offline",
    ),
    (
        "the configuration of a model is its own",
        "rope_scaling rope_theta low_cpu_mem_usage model_kwargs use_cache config_name config_overrides",
    ),
    ("every row of the sources is used", "dataset_shards"),
    (
        "the device is the one that is there",
        "use_cpu no_cuda use_mps_device device device_map accelerator local_rank ddp_backend",
    ),
    ("the same values give the same bytes", "full_determinism deterministic shuffle_dataset"),
    (
        "attention is chosen for the device",
        "attn_implementation flash_attention flash_attn use_flash_attention_2 xformers_attention "
        "sdp_attention use_liger_kernel",
    ),
    ("code of a model is never run, so that only families that transformers has can be loaded", "trust_remote_code"),
    ("results are shared with `dvc push` and Git", "push_to_hub hub_model_id hub_strategy hub_token"),
    ("an experiment is named by `dvc exp run -n NAME`", "run_name experiment_name project_name wandb_name"),
    (
        "the tokenizer is the model's own",
        "tokenizer_name tokenizer_name_or_path tokenizer add_eos_token special_tokens eos_token pad_token",
    ),
    ("an adapter has no biases and saves no other module", "bias lora_bias modules_to_save lora_modules_to_save"),
)


def explain_name(name: str) -> str | None:
    """What to set here for what others call so, as the end of a sentence; None for a name that nobody has."""
    return EXPLANATIONS.get(plain_name(name))


def plain_name(name: str) -> str:
    return name.lower().replace("-", "_")


EXPLANATIONS = {name: f"here it is {key}: {meaning}" for key, meaning, names in KEYS for name in names.split()} | {
    name: f"nothing sets it here: {fact}" for fact, names in ABSENT for name in names.split()
}
